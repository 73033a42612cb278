/**
 * What is in force at the nameservers: the newest manifest and the newest overrides that any of them gives, each
 * believed for its own signature.
 */
import { ok } from '../../system/result.ts';
import { type Outcome, refused, UNREACHABLE } from '../commands/command.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { type OverridesDocument, openOverrides, overrideKeys } from '../manifest/overrides.ts';
import { openManifest } from '../manifest/signed.ts';
import { DOCUMENT_PATHS } from './delivery.ts';
import { askNameserver, type Nameserver } from './nameservers.ts';

export interface InForce {
  readonly manifest: Manifest;
  /** Undefined when nobody on call has said anything. */
  readonly overrides: OverridesDocument | undefined;
}

/** Asks everybody; `operatorsKeys` are 32 bytes as base64url each. */
export async function fetchInForce(
  nameservers: readonly Nameserver[],
  operatorsKeys: readonly string[],
): Promise<Outcome<InForce>> {
  const replies = await Promise.all(
    nameservers.map(async (to) => ({
      to,
      reply: await askNameserver(to, { method: 'GET', path: DOCUMENT_PATHS.manifest }),
    })),
  );
  const found: InForce[] = [];
  const silent: string[] = [];
  for (const { to, reply } of replies) {
    if (!reply.ok) silent.push(`${to.name}: ${reply.fault}`);
    else {
      for (const key of operatorsKeys) {
        const held = await openBoth(reply.value.body, key);
        if (held !== undefined) found.push(held);
      }
    }
  }
  const [newest] = found.toSorted(
    (a, b) =>
      b.manifest.version - a.manifest.version || (b.overrides?.sequence ?? 0) - (a.overrides?.sequence ?? 0),
  );
  if (newest !== undefined) return ok(newest);
  if (silent.length === replies.length) {
    return { ok: false, fault: { code: UNREACHABLE, lines: ['No nameserver answers:', ...silent] } };
  }
  return refused('No nameserver has a manifest yet: `fleet push` brings it.', ...silent);
}

async function openBoth(text: string, operatorsKey: string): Promise<InForce | undefined> {
  let documents: { readonly manifest?: unknown; readonly overrides?: unknown };
  try {
    documents = JSON.parse(text) as typeof documents;
  } catch {
    return undefined;
  }
  const opened = await openManifest(String(documents.manifest), operatorsKey, 1);
  if (!opened.ok) return undefined;
  const manifest = opened.value;
  if (typeof documents.overrides !== 'string') return { manifest, overrides: undefined };
  const overrides = await openOverrides(documents.overrides, overrideKeys(manifest, operatorsKey));
  return { manifest, overrides: overrides.ok ? overrides.value.document : undefined };
}
