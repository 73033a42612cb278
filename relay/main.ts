/**
 * Starts a relay: environment → configuration → store → relay → wait → drain. What it refuses, it refuses whole,
 * with every fault as a sentence and exit code 64.
 */
import { systemClock } from '../system/clock.ts';
import { runRelay } from './run.ts';

await runRelay({ environment: process.env, clock: systemClock });
