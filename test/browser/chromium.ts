/**
 * A headless Chromium for a test, with a profile of its own, driven by the DevTools protocol over a pair of pipes:
 * five commands are all that these tests need, so no driver is installed for it. The browser ends when the pipes
 * do, so that it cannot outlive the process of the test.
 *
 * It trusts nothing that the machine does not, but for the keys that are named, and resolves the names that are
 * given to it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

export interface ChromiumOptions {
  /** Addresses by host name. */
  readonly hosts: Readonly<Record<string, string>>;
  /** SHA-256 of the public keys that are trusted under any name, base64. */
  readonly trustedKeys: readonly string[];
}

export interface Page {
  /** The value of a JavaScript expression, or of its promise. Throws what the page throws, as text. */
  evaluate(expression: string): Promise<unknown>;
  /** The texts that the page has written with `console.log`. */
  readonly logged: readonly string[];
}

export interface Chromium extends AsyncDisposable {
  /** Resolves when the page has loaded. */
  open(url: string): Promise<Page>;
}

const PROGRAM = 'chromium';

/** Why tests with a browser are skipped, or undefined when they run. CI_NO_SKIP=1 makes them run and fail. */
export const chromiumMissing: string | undefined =
  process.env['CI_NO_SKIP'] === '1' || spawnSync(PROGRAM, ['--version']).status === 0
    ? undefined
    : 'chromium is not installed';

const ANSWER_WITHIN_MS = 60_000;
/** How much of what the browser says about its troubles is kept, characters. */
const COMPLAINTS_MAX = 4000;

export async function startChromium(options: ChromiumOptions): Promise<Chromium> {
  const profile = mkdtempSync(join(tmpdir(), 'archipelago-chromium-'));
  const child = spawn(PROGRAM, argumentsOf(options, profile), {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
  });
  const devTools = new DevTools(child);
  return {
    open: (url) => openPage(devTools, url),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        const closed = devTools.call('Browser.close').catch(() => undefined);
        await Promise.race([exited, closed.then(() => exited)]);
      }
      rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}

function argumentsOf({ hosts, trustedKeys }: ChromiumOptions, profile: string): readonly string[] {
  const rules = Object.entries(hosts).map(([name, address]) => `MAP ${name} ${address}`);
  return [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--remote-debugging-pipe',
    `--user-data-dir=${profile}`,
    `--host-resolver-rules=${rules.join(',')}`,
    `--ignore-certificate-errors-spki-list=${trustedKeys.join(',')}`,
  ];
}

async function openPage(devTools: DevTools, url: string): Promise<Page> {
  const { targetId } = await devTools.call('Target.createTarget', { url: 'about:blank' });
  const attached = await devTools.call('Target.attachToTarget', { targetId, flatten: true });
  const session = String(attached['sessionId']);
  const logged: string[] = [];
  const loaded = Promise.withResolvers<void>();
  devTools.listen(session, (method, parameters) => {
    if (method === 'Page.loadEventFired') loaded.resolve();
    if (method === 'Runtime.consoleAPICalled' && parameters['type'] === 'log') {
      const values = parameters['args'] as readonly { readonly value?: unknown }[];
      logged.push(values.map(({ value }) => String(value)).join(' '));
    }
  });
  await devTools.call('Page.enable', {}, session);
  await devTools.call('Runtime.enable', {}, session);
  const navigated = await devTools.call('Page.navigate', { url }, session);
  if (navigated['errorText'] !== undefined)
    throw new Error(`${url}: ${JSON.stringify(navigated['errorText'])}`);
  await loaded.promise;
  return {
    logged,
    evaluate: async (expression) => {
      const parameters = { expression, awaitPromise: true, returnByValue: true };
      const reply = await devTools.call('Runtime.evaluate', parameters, session);
      const { result, exceptionDetails } = reply as {
        readonly result: { readonly value?: unknown };
        readonly exceptionDetails?: { readonly exception?: { readonly description?: string } };
      };
      if (exceptionDetails === undefined) return result.value;
      throw new Error(`in the page: ${exceptionDetails.exception?.description ?? 'unknown'}`);
    },
  };
}

type Fields = Readonly<Record<string, unknown>>;
type EventHandler = (method: string, parameters: Fields) => void;

/** Commands and events as JSON, each ended by a zero byte: file descriptor 3 of the browser in, 4 out. */
class DevTools {
  readonly #out: Writable;
  readonly #child: ChildProcess;
  readonly #waiting: Map<number, PromiseWithResolvers<Fields>> = new Map();
  readonly #handlers: Map<string, EventHandler> = new Map();
  #ids = 0;
  #rest = '';
  #complaints = '';

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#out = child.stdio[3] as Writable;
    const input = child.stdio[4] as Readable;
    input.setEncoding('utf8').on('data', (chunk: string) => this.#read(chunk));
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#complaints = (this.#complaints + chunk).slice(-COMPLAINTS_MAX);
    });
    const end = (): void => {
      for (const { reject } of this.#waiting.values()) reject(this.#fault('the browser ended'));
      this.#waiting.clear();
    };
    this.#out.on('error', end);
    child.on('exit', end).on('error', (error) => {
      this.#complaints += error.message;
      end();
    });
  }

  /** A session is one attached page; without one the browser itself is meant. */
  async call(method: string, params: Fields = {}, sessionId?: string): Promise<Fields> {
    if (this.#child.exitCode !== null) throw this.#fault('the browser has ended');
    this.#ids += 1;
    const id = this.#ids;
    const answer = Promise.withResolvers<Fields>();
    this.#waiting.set(id, answer);
    this.#out.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const timer = setTimeout(() => answer.reject(this.#fault(`no answer to ${method}`)), ANSWER_WITHIN_MS);
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  listen(session: string, handler: EventHandler): void {
    this.#handlers.set(session, handler);
  }

  #read(chunk: string): void {
    const texts = (this.#rest + chunk).split('\0');
    this.#rest = texts.pop() ?? '';
    for (const text of texts) this.#dispatch(JSON.parse(text) as Fields);
  }

  #dispatch(frame: Fields): void {
    const { id, method, params, sessionId, result, error } = frame;
    if (typeof id === 'number') {
      const answer = this.#waiting.get(id);
      if (error === undefined) answer?.resolve(result as Fields);
      else answer?.reject(this.#fault(JSON.stringify(error)));
    } else if (typeof sessionId === 'string') {
      this.#handlers.get(sessionId)?.(String(method), params as Fields);
    }
  }

  #fault(what: string): Error {
    return new Error(`${what}\n${this.#complaints}`);
  }
}
