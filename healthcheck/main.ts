/**
 * The vantage process. Settings: docs/configuration-vantage.md.
 */
import { choose } from './core/failover.ts';
import { runVantage } from './vantage.ts';

await runVantage(process.env, choose);
