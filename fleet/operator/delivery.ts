/**
 * Brings signed documents to nameservers, and says what became of it at each. Bringing one twice changes nothing, and
 * one nameserver is enough: they tell each other.
 */
import type { Nameserver } from './nameservers.ts';
import { askNameserver } from './nameservers.ts';

/** Where a document is brought. */
export const DOCUMENT_PATHS = { manifest: '/v1/manifest', overrides: '/v1/overrides' } as const;
export type DocumentKind = keyof typeof DOCUMENT_PATHS;

type DeliveryOutcome = 'adopted' | 'already' | 'refused' | 'unreachable';

export interface Delivery {
  readonly nameserver: string;
  readonly outcome: DeliveryOutcome;
  /** The name of a refusal, such as `not_newer`; empty otherwise. */
  readonly code: string;
  /** For people; empty when there is nothing to say. */
  readonly detail: string;
}

/**
 * Brings a document to all of them at once. `signed` is the same document under one signature or several; each
 * nameserver gets the first that it believes. Never rejects.
 */
export async function deliver(
  kind: DocumentKind,
  signed: readonly [string, ...string[]],
  nameservers: readonly Nameserver[],
): Promise<readonly Delivery[]> {
  const [first, ...others] = signed;
  return await Promise.all(
    nameservers.map(async (to) => {
      let delivery = await deliverTo(kind, first, to);
      for (const other of others) {
        if (delivery.code === 'not_signed') delivery = await deliverTo(kind, other, to);
      }
      return delivery;
    }),
  );
}

async function deliverTo(kind: DocumentKind, signed: string, to: Nameserver): Promise<Delivery> {
  const reply = await askNameserver(to, { method: 'POST', path: DOCUMENT_PATHS[kind], body: signed });
  if (!reply.ok) return { nameserver: to.name, outcome: 'unreachable', code: '', detail: reply.fault };
  const said = objectIn(reply.value.body);
  const outcome = said['outcome'];
  if (reply.value.status === 200 && (outcome === 'adopted' || outcome === 'already')) {
    return { nameserver: to.name, outcome, code: '', detail: '' };
  }
  const code = typeof said['code'] === 'string' ? said['code'] : `status ${reply.value.status}`;
  const detail = typeof said['detail'] === 'string' ? said['detail'] : '';
  return { nameserver: to.name, outcome: 'refused', code, detail };
}

/** A line for each nameserver. */
export function deliveryText(deliveries: readonly Delivery[]): readonly string[] {
  return deliveries.map(({ nameserver, outcome, code, detail }) =>
    [`${nameserver}: ${outcome}`, code === '' ? '' : ` (${code})`, detail === '' ? '' : `: ${detail}`].join(
      '',
    ),
  );
}

function objectIn(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
