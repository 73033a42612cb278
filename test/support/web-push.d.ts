/**
 * The part of npm `web-push` 3.6.7 that the tests use: the Web Push library that most senders in JavaScript have. It
 * comes without types.
 */
declare module 'web-push' {
  import type { Agent } from 'node:https';

  export interface PushSubscription {
    readonly endpoint: string;
    readonly keys?: { readonly p256dh: string; readonly auth: string };
  }

  export interface RequestOptions {
    readonly agent?: Agent;
    readonly TTL?: number;
    readonly urgency?: string;
    readonly topic?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly timeout?: number;
    readonly vapidDetails?: {
      readonly subject: string;
      readonly publicKey: string;
      readonly privateKey: string;
    };
  }

  export interface SendResult {
    readonly statusCode: number;
    readonly body: string;
    readonly headers: Readonly<Record<string, string>>;
  }

  interface WebPush {
    /** Rejects with a `WebPushError`, which has the fields of a `SendResult`, for every status that is not 2xx. */
    sendNotification(
      subscription: PushSubscription,
      payload: string | Buffer | null,
      options: RequestOptions,
    ): Promise<SendResult>;
    generateVAPIDKeys(): { readonly publicKey: string; readonly privateKey: string };
  }

  const webPush: WebPush;
  export default webPush;
}
