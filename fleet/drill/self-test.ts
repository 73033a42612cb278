/**
 * The checker's own test, on every run: on a copy of the ledgers one loss, one duplicate, one phantom, one corrupted
 * and one misdelivered message are planted, and each must be found. A checker that finds nothing proves nothing.
 */
import { type CheckOptions, check, type Findings } from './checker.ts';
import type { Delivery, LedgerEntry } from './ledger.ts';
import { digestOf, makePayload } from './payload.ts';

export type Plant = 'loss' | 'duplicate' | 'phantom' | 'corrupted' | 'misdelivered';
export const PLANTS: readonly Plant[] = ['loss', 'duplicate', 'phantom', 'corrupted', 'misdelivered'];

export type Checker = (entries: readonly LedgerEntry[], options: CheckOptions) => Findings;

/** The plants that the checker did not find; none when it works. All of them when there is too little to plant in. */
export function selfTest(
  entries: readonly LedgerEntry[],
  options: CheckOptions,
  checker: Checker = check,
): readonly Plant[] {
  const victims = onceDelivered(entries);
  const [lost, repeated, damaged, strayed] = victims;
  if (lost === undefined || repeated === undefined || damaged === undefined || strayed === undefined) {
    return PLANTS;
  }
  const phantom = { id: `nobody/${lost.claim.id.length}`, to: lost.mailbox };
  const elsewhere = `${strayed.mailbox}-other`;
  const planted = entries.filter(
    (entry) => entry !== lost.entry && entry !== damaged.entry && entry !== strayed.entry,
  );
  planted.push(
    repeated.entry,
    {
      ...lost.entry,
      claim: phantom,
      digest: digestOf(makePayload(options.runId, phantom, options.payloadBytes)),
    },
    { ...damaged.entry, digest: damaged.entry.digest.replace(/^./, (digit) => (digit === '0' ? '1' : '0')) },
    { ...strayed.entry, mailbox: elsewhere },
  );
  const before = checker(entries, options);
  const after = checker(planted, options);
  const found: Readonly<Record<Plant, boolean>> = {
    loss: after.lost.includes(lost.claim.id) && !before.lost.includes(lost.claim.id),
    duplicate: after.duplicates.includes(repeated.claim.id),
    phantom: after.phantom.includes(phantom.id),
    corrupted: after.corrupted.includes(damaged.claim.id),
    misdelivered: after.misdelivered.includes(strayed.claim.id),
  };
  return PLANTS.filter((plant) => !found[plant]);
}

interface Victim {
  readonly entry: Delivery;
  readonly claim: { readonly id: string; readonly to: string };
  readonly mailbox: string;
}

/** Four accepted messages that were delivered exactly once, so that what is planted is the only thing wrong. */
function onceDelivered(entries: readonly LedgerEntry[]): readonly Victim[] {
  const accepted = new Set<string>();
  const times = new Map<string, number>();
  for (const entry of entries) {
    if (entry.kind === 'accepted') accepted.add(entry.id);
    if (entry.kind === 'delivered' && entry.claim !== null) {
      times.set(entry.claim.id, (times.get(entry.claim.id) ?? 0) + 1);
    }
  }
  const victims: Victim[] = [];
  for (const entry of entries) {
    if (entry.kind !== 'delivered' || entry.claim === null) continue;
    const { claim, mailbox } = entry;
    if (accepted.has(claim.id) && times.get(claim.id) === 1) victims.push({ entry, claim, mailbox });
    if (victims.length === 4) break;
  }
  return victims;
}
