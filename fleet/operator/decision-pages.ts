/**
 * The decision log of a vantage, fetched page by page with the key of somebody on call.
 */
import type { PinnedIdentity } from '../../system/pinned-tls.ts';
import { fail, ok, type Result } from '../../system/result.ts';
import { askNameserver, type Nameserver } from './nameservers.ts';

const LENGTH_MAX = 256 * 1024 * 1024;

/** All lines. The fault is half a sentence. */
export async function decisionLog(
  from: Nameserver,
  identity: PinnedIdentity,
): Promise<Result<readonly string[], string>> {
  const lines: string[] = [];
  let length = 0;
  let after = 0;
  for (;;) {
    const path = `/v1/decisions?after=${after}`;
    const reply = await askNameserver(from, { method: 'GET', path, identity });
    if (!reply.ok) return reply;
    if (reply.value.status !== 200) {
      return fail(`it gives no decisions (status ${reply.value.status}); does its manifest list your key?`);
    }
    const page = reply.value.body.split('\n').filter((line) => line !== '');
    const last = numberOf(page.at(-1));
    if (last === undefined || last <= after) return ok(lines);
    lines.push(...page);
    length += reply.value.body.length;
    if (length > LENGTH_MAX) return fail('its decision log is too long; take the file itself and say --file');
    after = last;
  }
}

function numberOf(line: string | undefined): number | undefined {
  if (line === undefined) return undefined;
  try {
    const { n } = JSON.parse(line) as { n: unknown };
    return typeof n === 'number' ? n : undefined;
  } catch {
    return undefined;
  }
}
