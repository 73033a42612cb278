/**
 * The decision layer as a world: every vantage runs the judgement and the cold start that production runs, over a
 * network that loses, delays, reorders and cuts, with clocks that jump, machines that crash, sites that die and
 * flap, and in some worlds one vantage that lies. First faults, then a healed network in which all must agree.
 *
 * Signatures and sockets are left out: a vote arrives as the vantage said it, or not at all.
 */
import { sitesIn } from '../../../healthcheck/judgement.ts';
import { seededRandom } from '../../../system/random.ts';
import { createTrace } from '../trace.ts';
import { createVirtualTime } from '../virtual-time.ts';
import type { World } from '../world.ts';
import { createDnsFaults } from './faults.ts';
import { dnsFleetOf } from './fleet.ts';
import { createDnsInvariants } from './invariants.ts';
import { DNS_MUTANTS, dnsRules } from './mutants.ts';
import { createDnsNetwork } from './network.ts';
import { createSimulatedVantage, type SimulatedVantage } from './vantage.ts';

const FAULTS_MS = 80_000;
/** Hold-down at its longest, the window, and what votes need: then everything healthy is given out again. */
const HEALED_MS = 100_000;

export const dns: World = {
  name: 'dns',
  about: 'probes, votes, quorum and answers of all vantages',
  mutants: DNS_MUTANTS,
  run: async ({ seed, mutant, say }) => {
    const random = seededRandom(seed);
    const time = createVirtualTime();
    const trace = createTrace(time.nowMs, say);
    const manifest = dnsFleetOf(random);
    const vantages: SimulatedVantage[] = [];
    const network = createDnsNetwork(manifest, time, random, (site) => shareOf(site, vantages));
    const invariants = createDnsInvariants(manifest, network, time, (what) => trace.note('VIOLATION', what));
    for (const { name } of [...manifest.sites, ...manifest.witnesses]) {
      const vantage = createSimulatedVantage(name, {
        manifest,
        network,
        time,
        random,
        rules: dnsRules(mutant),
        watch: invariants,
        note: (what) => trace.note(name, what),
      });
      vantages.push(vantage);
    }
    for (const vantage of vantages) vantage.start();
    const faults = createDnsFaults({
      manifest,
      network,
      vantages,
      time,
      random,
      trace,
      surging: () => invariants.surging(),
      overdue: (site) => {
        for (const vantage of vantages) invariants.overdue(vantage, site);
      },
    });
    faults.schedule(FAULTS_MS);
    await time.advance(FAULTS_MS);
    faults.heal();
    await time.advance(HEALED_MS);
    for (const vantage of vantages) invariants.converged(vantage);
    for (const vantage of vantages) vantage.crash();
    return {
      violations: invariants.violations(),
      figures: { ...faults.figures(), ...invariants.figures() },
      digest: trace.digest(),
    };
  },
};

/** The share of all clients that goes to a site: every nameserver has as many, and divides them among its answer. */
function shareOf(site: string, vantages: readonly SimulatedVantage[]): number {
  const answers = vantages.flatMap((vantage) => {
    const answer = vantage.served()?.answer;
    return answer === undefined ? [] : [sitesIn(answer)];
  });
  const shares = answers.map((sites) => (sites.includes(site) ? 1 / sites.length : 0));
  return shares.reduce((sum, share) => sum + share, 0) / Math.max(1, answers.length);
}
