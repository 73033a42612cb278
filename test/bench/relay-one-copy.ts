/**
 * The relay of the mode "one store": the write path as it is, but one copy is enough and nobody is owed another.
 * Only a benchmark may accept like this; it is what single-copy brokers are compared with.
 */
import { createAcceptor } from '../../relay/replication/acceptor.ts';
import { runRelay } from '../../relay/run.ts';
import { systemClock } from '../../system/clock.ts';

// Asked before memory is measured; only there with --expose-gc.
process.on('SIGUSR2', () => globalThis.gc?.());

await runRelay({
  environment: process.env,
  clock: systemClock,
  overrides: {
    // Or it would never be ready, and send its recipients to sites that there are not.
    copiesNeeded: 1,
    createAcceptor: (config, deps) =>
      createAcceptor({ ...config, sites: [config.own], copiesNeeded: 1 }, { ...deps, links: [] }),
  },
});
