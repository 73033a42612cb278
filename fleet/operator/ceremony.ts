/**
 * The way to every signature: show what would change for clients, refuse what fails a check that nobody waived, ask,
 * and only then sign and write down. There is no other.
 */

import { zoneFaults } from '../../healthcheck/core/zone.ts';
import { ok } from '../../system/result.ts';
import { suggestion } from '../../system/settings.ts';
import { agreed, type CommandIo, misused, type Outcome, refused, type Words } from '../commands/command.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { openManifest } from '../manifest/signed.ts';
import { type Difference, differenceOf, differenceText } from './difference.ts';
import { type Changes } from './directory.ts';
import { hasAddresses } from './draft.ts';
import { SANITY_CHECKS, type SanityFault, sanityFaults } from './sanity.ts';
import { manifestFrom, signDraft } from './signing.ts';
import {
  draftChange,
  MANIFEST_FILE,
  NEXT_MANIFEST_FILE,
  type OpenVault,
  type SignedManifest,
  VAULT_FILE,
  type Workspace,
} from './workspace.ts';

/** Flags of every command that signs a manifest. */
export const SIGNING_FLAGS = {
  dir: 'value',
  'passphrase-file': 'value',
  despite: 'value',
  version: 'value',
  yes: 'alone',
  json: 'alone',
} as const;

export interface Proposal {
  readonly manifest: Manifest;
  readonly difference: Difference;
  readonly faults: readonly SanityFault[];
  /** Sites that have no addresses yet, and are left out. */
  readonly unfinished: readonly string[];
}

/** What signing this draft would mean. */
export async function propose(
  { draft, inForce }: Pick<Workspace, 'draft' | 'inForce'>,
  { vault }: Pick<OpenVault, 'vault'>,
  given: Words,
  io: CommandIo,
): Promise<Outcome<Proposal>> {
  const wallMs = io.clock.wallMs();
  const version = versionOf(given, inForce?.manifest);
  if (!version.ok) return version;
  if (!draft.manifest.sites.some(hasAddresses)) {
    return refused('No site has addresses yet: `fleet add-site`, then `pulumi up`, then `fleet compose`.');
  }
  const manifest = await manifestFrom(draft, vault, { version: version.value, wallMs });
  const ring = { before: draft.signedRing, after: vault.ring };
  return ok({
    manifest,
    difference: differenceOf(inForce?.manifest, manifest, ring, wallMs),
    faults: sanityFaults(inForce?.manifest, manifest, wallMs),
    unfinished: draft.manifest.sites.filter((site) => !hasAddresses(site)).map(({ name }) => name),
  });
}

/** Prints a proposal for people, or as one line of JSON. */
export function show(proposal: Proposal, given: Words, io: CommandIo): void {
  const { difference, faults, unfinished, manifest } = proposal;
  if (given.flags.has('json')) {
    io.print(JSON.stringify({ ...difference, faults, unfinished }));
    return;
  }
  for (const line of differenceText(manifest.zone, difference)) io.print(line);
  for (const name of unfinished) io.print(`Left out: ${name} has no addresses yet (\`fleet compose\`).`);
}

/** Shows, checks, asks, signs and keeps what was signed, together with `also`, which changes with it. */
export async function signWithCare(
  workspace: Workspace,
  open: OpenVault,
  given: Words,
  io: CommandIo,
  also: Changes = new Map(),
): Promise<Outcome<SignedManifest>> {
  const waived = waivedChecks(given);
  if (!waived.ok) return waived;
  const proposal = await propose(workspace, open, given, io);
  if (!proposal.ok) return proposal;
  show(proposal.value, given, io);
  const standing = proposal.value.faults.filter(({ check }) => !waived.value.includes(check));
  if (standing.length > 0) {
    const names = [...new Set(standing.map(({ check }) => check))].join(',');
    return refused(
      'Not signed:',
      ...standing.map(({ check, detail }) => `  ${check}: ${detail}`),
      `If you mean it, say --despite ${names}.`,
    );
  }
  const { manifest } = proposal.value;
  const answer = await agreed(`Sign version ${manifest.version}?`, given, io);
  if (!answer.ok) return answer;
  const { draft, signed, signedNext } = await signDraft(workspace.draft, open.vault, manifest);
  const readable = await checkAsNodesDo(signed, open.vault.manifestKey.x, manifest.version);
  if (!readable.ok) return readable;
  workspace.directory.change(
    new Map<string, string | null>([
      ...also,
      draftChange(draft),
      [VAULT_FILE, await open.lock(open.vault)],
      [MANIFEST_FILE, `${signed}\n`],
      [NEXT_MANIFEST_FILE, signedNext === undefined ? null : `${signedNext}\n`],
    ]),
  );
  return ok({ signed, signedNext, manifest });
}

/** Nothing leaves this machine that nodes would refuse. */
async function checkAsNodesDo(signed: string, key: string, version: number): Promise<Outcome<void>> {
  const opened = await openManifest(signed, key, version);
  if (!opened.ok) return refused('Not signed, because nodes would refuse it:', ...opened.fault.details);
  const faults = zoneFaults(opened.value);
  return faults.length === 0
    ? ok(undefined)
    : refused('Not signed, because nodes would refuse it:', ...faults);
}

function versionOf(given: Words, inForce: Manifest | undefined): Outcome<number> {
  const last = inForce?.version ?? 0;
  const text = given.flags.get('version');
  if (text === undefined) return ok(last + 1);
  const version = /^[1-9]\d{0,14}$/.test(text) ? Number(text) : 0;
  return version > last
    ? ok(version)
    : misused(
        `--version: expected a whole number above ${last}, the last version signed here, got ${JSON.stringify(text)}.`,
      );
}

function waivedChecks(given: Words): Outcome<readonly string[]> {
  const names = (given.flags.get('despite') ?? '').split(',').filter((name) => name !== '');
  const known = Object.keys(SANITY_CHECKS);
  const unknown = names.find((name) => !known.includes(name));
  return unknown === undefined
    ? ok(names)
    : misused(
        `--despite: there is no check ${JSON.stringify(unknown)}${suggestion(unknown, known)}; docs/fleet.md lists them.`,
      );
}
