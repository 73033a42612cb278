/**
 * A vantage whose main thread stands still for ever from SIGUSR2 on, while its other threads go on: what a loop without
 * an end would do.
 */
import { choose } from '../../healthcheck/core/failover.ts';
import { runVantage } from '../../healthcheck/vantage.ts';

process.on('SIGUSR2', () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
});
await runVantage(process.env, choose);
