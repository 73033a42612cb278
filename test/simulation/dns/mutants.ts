/**
 * Rules of the decision layer that are wrong on purpose. A simulation that lets one of them pass proves nothing.
 */
import { RULES, type Rules } from '../../../healthcheck/core/decision.ts';
import { FAMILIES, keyOf, targetsOf } from '../../../healthcheck/core/target.ts';

const MUTANT_RULES = {
  quorum_of_one: {
    about: 'one vantage that says down suffices',
    rules: {
      ...RULES,
      healthsFrom: (votes, manifest) =>
        new Map(
          targetsOf(manifest).map((target) => {
            const said = votes.flatMap(({ verdicts }) =>
              verdicts.filter((one) => keyOf(one) === keyOf(target)).map(({ verdict }) => verdict),
            );
            return [keyOf(target), said.includes('down') ? 'down' : said.includes('up') ? 'up' : 'unknown'];
          }),
        ),
    },
  },
  fail_closed: {
    about: 'when all are down, nobody is given out',
    rules: {
      ...RULES,
      choose: (input) => {
        const choice = RULES.choose(input);
        const isOpen = (key: string): boolean => choice.failOpen.some((family) => key.endsWith(family));
        return { ...choice, targets: choice.targets.filter((key) => !isOpen(key)), failOpen: [] };
      },
      applyChoice: (current, choice, manifest) => {
        const all = FAMILIES.every((family) => choice.targets.some((key) => key.endsWith(family)));
        if (all || choice.targets.join() === current.targets.join()) {
          return RULES.applyChoice(current, choice, manifest);
        }
        const { basedOn, deferred: _, ...answer } = choice;
        return { ok: true, value: { ...answer, generation: basedOn + 1 } };
      },
    },
  },
  no_velocity_limit: {
    about: 'any number of providers leaves at once',
    rules: {
      ...RULES,
      choose: (input) => {
        const choice = RULES.choose(input);
        const held = choice.deferred.filter(({ reason }) => reason === 'withdrawal_window');
        const isHeld = (key: string): boolean => held.some(({ target }) => target === key);
        return { ...choice, targets: choice.targets.filter((key) => !isHeld(key)), deferred: [] };
      },
    },
  },
  capacity_ignored: {
    about: 'slow sites leave one after the other, however little remains',
    rules: { ...RULES, choose: (input) => RULES.choose({ ...input, strained: new Set() }) },
  },
  unknown_is_down: {
    about: 'silence counts as down',
    rules: {
      ...RULES,
      healthsFrom: (votes, manifest) => {
        const healths = RULES.healthsFrom(votes, manifest);
        return new Map([...healths].map(([key, health]) => [key, health === 'unknown' ? 'down' : health]));
      },
    },
  },
} as const satisfies Readonly<Record<string, { readonly about: string; readonly rules: Rules }>>;

export const DNS_MUTANTS: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(MUTANT_RULES).map(([name, { about }]) => [name, about]),
);

/** The rules of that mutant, or the real ones. */
export function dnsRules(mutant: string | undefined): Rules {
  const found = Object.entries(MUTANT_RULES).find(([name]) => name === mutant);
  return found === undefined ? RULES : found[1].rules;
}
