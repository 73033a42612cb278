/**
 * What the world may ask of a relay. The routes are one screen; docs/protocol.md is their contract.
 */
import type { HttpBindings } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { cors } from 'hono/cors';
import { describeError } from '../../system/log.ts';
import { SUBPROTOCOL } from '../core/frame.ts';
import { REFUSALS, type Refusal } from '../core/refusal.ts';
import type { RelayEvents } from '../events.ts';
import { type MintDeps, mintPushUrl } from './mint.ts';
import { createPush, type PushDeps } from './push.ts';

export interface PublicAppDeps {
  readonly push: PushDeps;
  readonly mint: MintDeps;
  readonly facts: {
    readonly site: string;
    readonly audience: string;
    readonly sites: readonly { readonly name: string; readonly provider: string; readonly origin: string }[];
    readonly minting: 'open' | 'token';
  };
  /** Whether this site wants clients now. */
  readonly isReady: () => boolean;
  readonly events: RelayEvents;
}

export type PublicApp = Hono<{ Bindings: HttpBindings }>;
export type PublicContext = Context<{ Bindings: HttpBindings }>;

export function createPublicApp(deps: PublicAppDeps): PublicApp {
  const app: PublicApp = new Hono();
  const push = createPush(deps.push);
  const refuse = (context: PublicContext, refusal: Refusal): Response => {
    deps.events.refused(refusal);
    const { status, title, retryAfterSeconds } = REFUSALS[refusal];
    if (retryAfterSeconds !== undefined) context.header('Retry-After', String(retryAfterSeconds));
    // The rest of a body that nobody reads must not be taken for the next request.
    if (refusal === 'body_too_large' || refusal === 'body_incomplete') context.header('Connection', 'close');
    context.header('Content-Type', 'application/problem+json');
    return context.body(JSON.stringify({ type: 'about:blank', title, status, code: refusal }), status);
  };

  // Browsers may send and mint from any page: a push URL or a mailbox token is the credential, never a cookie.
  app.use(cors({ origin: '*', exposeHeaders: ['Location', 'TTL', 'Retry-After'], maxAge: 86_400 }));
  app.post('/p/:capability', async (context) => {
    const accepted = await push(context, context.req.param('capability'));
    if (!accepted.ok) return refuse(context, accepted.fault);
    return context.body(null, 201, {
      Location: accepted.value.location,
      TTL: String(accepted.value.ttlSeconds),
    });
  });
  app.post('/v1/push-urls', async (context) => {
    const minted = await mintPushUrl(context, deps.mint);
    if (!minted.ok) return refuse(context, minted.fault);
    context.header('Cache-Control', 'no-store');
    return context.json({ push: minted.value }, 201, { Location: minted.value });
  });
  app.get('/v1/info', (context) =>
    context.json({
      protocol: SUBPROTOCOL,
      ...deps.facts,
      bodyBytesMax: deps.push.bodyBytesMax,
      ttlSecondsMax: deps.push.limits.ttlSecondsMax,
      timeMs: deps.push.clock.wallMs(),
    }),
  );
  app.get('/readyz', (context) => context.body(null, deps.isReady() ? 200 : 503));
  app.notFound((context) => refuse(context, 'not_found'));
  app.onError((error, context) => {
    deps.events.failed('request', describeError(error));
    return refuse(context, 'internal_error');
  });
  return app;
}
