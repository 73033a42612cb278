/**
 * What the world may ask of a relay. The routes are one screen; docs/protocol.md is their contract.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { describeError } from '../../system/log.ts';
import { SUBPROTOCOL } from '../core/frame.ts';
import type { Refusal } from '../core/refusal.ts';
import type { RelayEvents } from '../events.ts';
import type { Failures } from '../failures.ts';
import { credentialOf, failedBefore, noteFailure } from './failed-credentials.ts';
import type { LongPoll } from './long-poll.ts';
import { methodsAt } from './methods.ts';
import { type MintDeps, mintPushUrl } from './mint.ts';
import type { PublicContext } from './public-context.ts';
import type { PushDeps } from './push.ts';
import { type AnswerPush, createPushAnswers, EXPOSED_HEADERS } from './push-answer.ts';
import { capabilityIn, createPushListener } from './push-listener.ts';
import { refusalAnswer } from './refusal-answer.ts';
import { retractMessage } from './retract.ts';
import { revokePushUrl } from './revocations.ts';
import { isAmbiguous, SOCKET_PATH } from './target.ts';

export type PublicSites = readonly {
  readonly name: string;
  readonly provider: string;
  readonly origin: string;
}[];

export interface PublicAppDeps {
  readonly push: PushDeps;
  readonly mint: MintDeps;
  readonly longPoll: LongPoll;
  readonly facts: {
    readonly site: string;
    readonly audience: string;
    /** Asked for anew each time: sites come and go. */
    readonly sites: PublicSites;
    readonly minting: 'open' | 'token';
  };
  /** Whether this site wants clients now. */
  readonly isReady: () => boolean;
  /** Whether it refuses what can wait. */
  readonly isCrowded: () => boolean;
  readonly events: RelayEvents;
  readonly failures: Failures;
}

export interface PublicApp {
  /** Answers every request that is no upgrade, as Node's HTTP reads it. */
  readonly listener: (request: IncomingMessage, response: ServerResponse) => void;
  /** Answers push requests that were read otherwise. */
  readonly push: AnswerPush;
}

type App = Hono<{ Bindings: HttpBindings }>;

/** The routes of the public port; each refusal is `application/problem+json` (RFC 9457). */
export function createPublicApp(deps: PublicAppDeps): PublicApp {
  const push = createPushAnswers({ ...deps.push, failures: deps.failures });
  const pushes = createPushListener(push);
  const others = getRequestListener(createOthers(deps).fetch);
  const listener: PublicApp['listener'] = (request, response) => {
    if (isAmbiguous(request)) {
      deps.events.refused('host_ambiguous');
      const { status, headers, body } = refusalAnswer('host_ambiguous');
      response.writeHead(status, headers).end(body);
      return;
    }
    const capability = capabilityIn(request);
    void (capability === undefined ? others(request, response) : pushes(request, response, capability));
  };
  return { listener, push };
}

/** Everything but push requests. */
function createOthers(deps: PublicAppDeps): App {
  const app: App = new Hono();
  const refuse = (context: PublicContext, refusal: Refusal): Response => {
    deps.events.refused(refusal);
    noteFailure(credentialOf(context.env.incoming), refusal, deps.failures);
    const { status, headers, body } = refusalAnswer(refusal);
    return context.body(body, status, headers);
  };

  // Browsers may send and mint from any page: a push URL or a mailbox token is the credential, never a cookie.
  app.use(
    cors({
      origin: '*',
      exposeHeaders: [...EXPOSED_HEADERS],
      maxAge: 86_400,
    }),
  );
  app.use(async (context, next) => {
    const refusal = failedBefore(credentialOf(context.env.incoming), deps.failures);
    return refusal === undefined ? next() : refuse(context, refusal);
  });
  app.post('/v1/revocations', async (context) => {
    const revoked = await revokePushUrl(context, deps.push);
    return revoked.ok ? context.body(null, 204) : refuse(context, revoked.fault);
  });
  app.delete('/m/:address', async (context) => {
    const retracted = await retractMessage(context.req.param('address'), {
      ...deps.push,
      ttlSecondsMax: deps.push.limits.ttlSecondsMax,
    });
    return retracted.ok ? context.body(null, 204) : refuse(context, retracted.fault);
  });
  app.post('/v1/push-urls', async (context) => {
    const minted = await mintPushUrl(context, deps.mint);
    if (!minted.ok) return refuse(context, minted.fault);
    context.header('Cache-Control', 'no-store');
    return context.json({ push: minted.value }, 201, { Location: minted.value });
  });
  addLongPoll(app, deps.longPoll, refuse);
  app.get('/v1/info', (context) =>
    context.json({
      protocol: SUBPROTOCOL,
      ...deps.facts,
      bodyBytesMax: deps.push.bodyBytesMax,
      ttlSecondsMax: deps.push.limits.ttlSecondsMax,
      timeMs: deps.push.clock.wallMs(),
    }),
  );
  app.get('/readyz', (context) => {
    if (deps.isCrowded()) context.header(LOAD_HEADER, 'crowded');
    return context.body(readinessPadding(context.req.query('bytes')), deps.isReady() ? 200 : 503);
  });
  app.notFound((context) => {
    const allow = methodsAt(context.req.path);
    if (allow === undefined) return refuse(context, 'not_found');
    // Only a request that is no upgrade comes here.
    if (context.req.path === SOCKET_PATH && context.req.method === 'GET')
      return refuse(context, 'upgrade_required');
    context.header('Allow', allow);
    return refuse(context, 'method_not_allowed');
  });
  app.onError((error, context) => {
    deps.events.failed('request', describeError(error));
    return refuse(context, 'internal_error');
  });
  return app;
}

function addLongPoll(
  app: App,
  longPoll: LongPoll,
  refuse: (context: PublicContext, refusal: Refusal) => Response,
): void {
  app.get('/v1/messages', async (context) => {
    const polled = await longPoll.poll(context);
    if (!polled.ok) return refuse(context, polled.fault);
    context.header('Cache-Control', 'no-store');
    return context.json({ messages: polled.value });
  });
  app.post('/v1/acks', async (context) => {
    const acked = await longPoll.ack(context);
    return acked.ok ? context.body(null, 204) : refuse(context, acked.fault);
  });
}

/** A prober that asks for so many bytes learns whether large packets come through, too. */
export const READINESS_BYTES_MAX = 8192;
const LOAD_HEADER = 'Relay-Load';

function readinessPadding(bytes: string | undefined): string {
  const length = /^[1-9]\d{0,3}$/.test(bytes ?? '') ? Number(bytes) : 0;
  return '.'.repeat(Math.min(length, READINESS_BYTES_MAX));
}
