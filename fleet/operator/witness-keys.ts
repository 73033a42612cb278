/**
 * What a witness needs before its machine can look: its keys and its settings, as files for that machine, and the public
 * halves in the draft. It has no relay and no nameserver, so no stack of ours makes it.
 */
import { fail, ok, type Result } from '../../system/result.ts';
import type { CertificateContext } from '../certificates.ts';
import type { SiteName, WitnessEntry } from '../manifest/manifest.ts';
import { type Draft, draftFaults } from './draft.ts';
import { makeVantageKeys, type VantageKeys } from './vantage-keys.ts';

export interface NewWitness {
  readonly name: SiteName;
  readonly provider: string;
  readonly ipv4: string | null;
  readonly ipv6: string | null;
  readonly votePort: number;
}

/** Makes its keys and lists it. The faults are sentences. */
export async function makeWitness(
  draft: Draft,
  { name, provider, ipv4, ipv6, votePort }: NewWitness,
  context: CertificateContext,
): Promise<Result<{ readonly draft: Draft; readonly files: VantageKeys['files'] }, readonly string[]>> {
  const { manifest } = draft;
  if ([...manifest.sites, ...manifest.witnesses].some((one) => one.name === name)) {
    return fail([`There is a site or a witness ${name} already; take another name.`]);
  }
  const { listed, files } = await makeVantageKeys(`vantage.${name}.${manifest.zone}`, context);
  const entry: WitnessEntry = { name, provider, vantage: { ipv4, ipv6, votePort, ...listed } };
  const next = { ...draft, manifest: { ...manifest, witnesses: [...manifest.witnesses, entry] } };
  const faults = draftFaults(next);
  return faults.length === 0 ? ok({ draft: next, files }) : fail(faults);
}

/** The draft without a witness. */
export function withoutWitness(draft: Draft, name: SiteName): Draft {
  const { manifest } = draft;
  const witnesses = manifest.witnesses.filter((witness) => witness.name !== name);
  return { ...draft, manifest: { ...manifest, witnesses } };
}

/** The folder of a witness in the operators' directory. */
export function witnessFolder(name: SiteName): string {
  return `witnesses/${name}`;
}

/** Everything for its machine, by its path in the operators' directory; `manifestKey` is the operators' public key. */
export function witnessFiles(
  witness: NewWitness,
  files: VantageKeys['files'],
  manifestKey: string,
): ReadonlyMap<string, string> {
  const folder = witnessFolder(witness.name);
  return new Map([
    ...Object.entries(files).map(([file, content]) => [`${folder}/${file}`, content] as const),
    [`${folder}/environment`, environmentOf(witness, manifestKey)] as const,
  ]);
}

/** Its settings, in the places where a machine of a site has them too: infra/boot.sh. */
function environmentOf({ name, votePort }: NewWitness, manifestKey: string): string {
  return [
    `VANTAGE_SITE=${name}`,
    'VANTAGE_MANIFEST=/var/lib/archipelago/manifest.jws',
    `VANTAGE_MANIFEST_KEY=${manifestKey}`,
    `VANTAGE_VOTE_LISTEN=[::]:${votePort}`,
    'VANTAGE_PRIVATE_LISTEN=127.0.0.1:9100',
    'VANTAGE_STATE_DIR=/var/lib/archipelago',
    'VANTAGE_VOTE_KEY=/etc/archipelago/secret/vote-key',
    'VANTAGE_TLS_CERTIFICATE=/etc/archipelago/secret/tls-certificate',
    'VANTAGE_TLS_KEY=/etc/archipelago/secret/tls-key',
    'VANTAGE_OPERATOR_TOKEN=/etc/archipelago/secret/operator-token',
    '',
  ].join('\n');
}
