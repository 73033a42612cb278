/**
 * The simulator: `npm run simulate`. It knows the worlds; each of them is a folder beside it.
 */
import { systemClock } from '../../system/clock.ts';
import { describeCampaign, runCampaign } from './campaign.ts';
import { dns } from './dns/world.ts';
import { messages } from './messages/world.ts';
import { helpOf, parseSimulate, type SimulateCommand } from './options.ts';
import type { World } from './world.ts';

const WORLDS: readonly World[] = [messages, dns];
const WRONG_USAGE = 64;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const parsed = parseSimulate(process.argv.slice(2), WORLDS);
if (parsed.ok) process.exitCode = await obey(parsed.value);
else {
  process.stderr.write(`${parsed.fault}\nTry: npm run simulate -- help\n`);
  process.exitCode = WRONG_USAGE;
}

async function obey(command: SimulateCommand): Promise<number> {
  if (command.kind === 'help') {
    print(helpOf(WORLDS));
    return 0;
  }
  const { world, mutant } = command;
  const mutation = mutant === undefined ? '' : ` --mutant ${mutant}`;
  const repeat = `npm run simulate -- ${world.name}${mutation}`;
  if (command.kind === 'campaign') {
    const { from, seeds } = command;
    const options = { world, from, seeds, mutant, clock: systemClock, isStoppedByFailure: false };
    const result = await runCampaign({
      ...options,
      progress: (line) => void process.stderr.write(`${line}\n`),
    });
    for (const line of describeCampaign(result, repeat)) print(line);
    return result.failed.length === 0 ? 0 : 1;
  }
  const { seed } = command;
  print(`World ${world.name}, seed ${seed}${mutation}. Seconds, who, what:`);
  const { violations, figures, digest } = await world.run({
    seed,
    ...(mutant === undefined ? {} : { mutant }),
    say: print,
  });
  print('');
  for (const [name, count] of Object.entries(figures)) if (count > 0) print(`  ${name}: ${count}`);
  print(`Trace ${digest}.`);
  for (const violation of violations) print(`VIOLATED at ${violation}`);
  print(violations.length === 0 ? 'HOLDS: every invariant.' : `Repeat it: ${repeat} ${seed}`);
  return violations.length === 0 ? 0 : 1;
}
