/**
 * What is in force at the nameservers: the newest manifest and the newest overrides that any of them gives, each
 * believed for its own signature. They may come from two of them: one that was away has neither for a while, and one that
 * was just given a manifest may not have heard the last word of somebody on call.
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
  const silent = replies.flatMap(({ to, reply }) => (reply.ok ? [] : [`${to.name}: ${reply.fault}`]));
  const texts = replies.flatMap(({ reply }) => (reply.ok ? [reply.value.body] : []));
  const newest = await newestIn(texts, operatorsKeys);
  if (newest !== undefined) return ok(newest);
  if (silent.length === replies.length) {
    return { ok: false, fault: { code: UNREACHABLE, lines: ['No nameserver answers:', ...silent] } };
  }
  return refused('No nameserver has a manifest yet: `fleet push` brings it.', ...silent);
}

/** The newest of both in what nameservers replied; undefined when none has a manifest that one of the keys signed. */
export async function newestIn(
  replies: readonly string[],
  operatorsKeys: readonly string[],
): Promise<InForce | undefined> {
  const documents = replies.map(documentsIn);
  const manifests: { readonly manifest: Manifest; readonly key: string }[] = [];
  for (const { manifest } of documents) {
    for (const key of operatorsKeys) {
      const opened = await openManifest(manifest, key, 1);
      if (opened.ok) manifests.push({ manifest: opened.value, key });
    }
  }
  const [newest] = manifests.toSorted((a, b) => b.manifest.version - a.manifest.version);
  if (newest === undefined) return undefined;
  const keys = overrideKeys(newest.manifest, newest.key);
  const words: OverridesDocument[] = [];
  for (const { overrides } of documents) {
    const opened = await openOverrides(overrides, keys);
    if (opened.ok) words.push(opened.value.document);
  }
  const [overrides] = words.toSorted((a, b) => b.sequence - a.sequence);
  return { manifest: newest.manifest, overrides };
}

/** As they were signed; empty where there is none. */
function documentsIn(reply: string): { readonly manifest: string; readonly overrides: string } {
  try {
    const { manifest, overrides } = JSON.parse(reply) as Readonly<Record<string, unknown>>;
    return {
      manifest: typeof manifest === 'string' ? manifest : '',
      overrides: typeof overrides === 'string' ? overrides : '',
    };
  } catch {
    return { manifest: '', overrides: '' };
  }
}
