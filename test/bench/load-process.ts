/**
 * The load generator as a process of its own, so that its work is not done in the same thread as anything that is
 * measured, and its share of the machine is known. Takes its configuration as the only argument, in JSON, and sends
 * the result to its parent.
 */
import { type LoadConfig, runLoad } from './load.ts';

const config = JSON.parse(process.argv[2] ?? '') as LoadConfig;
process.once('disconnect', () => process.exit(1));
const result = await runLoad(config);
process.send?.(result, () => process.exit(0));
