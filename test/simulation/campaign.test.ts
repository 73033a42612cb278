/**
 * The campaign and the command line of the simulator, over a world of three lines.
 */
import { expect, test } from 'vitest';
import { describeCampaign, runCampaign } from './campaign.ts';
import { helpOf, parseSimulate } from './options.ts';
import type { World } from './world.ts';

/** Fails at every seventh seed, and with its mutant at every seed. */
const sevens: World = {
  name: 'sevens',
  about: 'numbers',
  mutants: { always: 'every seed fails' },
  run: async ({ seed, mutant }) => ({
    violations: seed % 7 === 0 || mutant === 'always' ? [`${seed} is no good`] : [],
    figures: { sent: 2 },
    digest: 'x',
  }),
};
const other: World = { ...sevens, name: 'other', mutants: {} };
const worlds = [sevens, other];
let nowMs = 0;
const clock = { monotonicMs: () => (nowMs += 100) };
const campaign = { world: sevens, from: 1, mutant: undefined, clock, progress: () => undefined };

test('a campaign runs every seed, adds the figures up and says how to repeat the first failure', async () => {
  const result = await runCampaign({ ...campaign, seeds: 20, isStoppedByFailure: false });
  expect(result).toMatchObject({ ran: 20, failed: [7, 14], figures: { sent: 40 } });
  const said = describeCampaign(result, 'npm run simulate -- sevens').join('\n');
  expect(said).toContain('VIOLATED in 2 of 20 seeds: 7, 14');
  expect(said).toContain('7 is no good');
  expect(said).toContain('npm run simulate -- sevens 7');
});

test('a campaign that is to stop at a failure runs no seed after it', async () => {
  const result = await runCampaign({ ...campaign, seeds: 20, isStoppedByFailure: true });
  expect(result).toMatchObject({ ran: 7, failed: [7] });
});

test('a campaign without a failure says that everything holds', async () => {
  const result = await runCampaign({ ...campaign, seeds: 3, isStoppedByFailure: false });
  expect(describeCampaign(result, '').at(-1)).toMatch(/^HOLDS/);
});

test.each([
  ['7', { kind: 'one', world: sevens, seed: 7 }],
  ['other 7', { kind: 'one', world: other, seed: 7 }],
  ['--seeds 5', { kind: 'campaign', world: sevens, from: 1, seeds: 5 }],
  ['other --seeds 5 --from 100', { kind: 'campaign', world: other, from: 100, seeds: 5 }],
  ['7 --mutant always', { kind: 'one', world: sevens, seed: 7, mutant: 'always' }],
  ['', { kind: 'help' }],
  ['other --help', { kind: 'help' }],
])('"%s" is understood', (line, command) => {
  const parsed = parseSimulate(line.split(' ').filter(Boolean), worlds);
  expect(parsed.ok && parsed.value).toMatchObject(command);
});

test.each([
  ['seven', /one seed between/],
  ['7 8', /one seed between/],
  ['7 --from 3', /one seed between/],
  ['--seeds none', /--seeds: expected/],
  ['--seeds 5 --from -1', /--from: expected/],
  ['--seeds 5 9', /no place for "9"/],
  ['--seed 5', /no --seed.*--seeds/],
  ['--seeds 5 --seeds 6', /given twice/],
  ['other 7 --mutant always', /--mutant: expected/],
])('"%s" is refused with a sentence', (line, sentence) => {
  const parsed = parseSimulate(line.split(' '), worlds);
  expect(parsed.ok ? 'ok' : parsed.fault).toMatch(sentence);
});

test('the help names every world and every mutant', () => {
  expect(helpOf(worlds)).toMatch(/sevens: numbers[\s\S]*--mutant always[\s\S]*other: /);
});
