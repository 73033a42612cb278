/**
 * Serves an empty page and the modules of this repository on the loopback interface, with their types stripped and
 * nothing else done to them: what runs in the browser is what runs in Node, file by file, without a bundler.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { stripTypeScriptTypes } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export interface PageServer extends AsyncDisposable {
  /** `http://127.0.0.1:…`, which browsers take for a secure context. */
  readonly origin: string;
}

const ROOT: string = join(import.meta.dirname, '../..');
/** What a page may load: modules of the client, of what it shares with the services, and of the tests. */
const SERVED = /^\/(?:client|system|test\/browser)\/[a-z0-9-]+\.ts$/;

/** `made`: the text of modules that are no files, by path. */
export async function startPageServer(made: ReadonlyMap<string, string>): Promise<PageServer> {
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    const serve = async (): Promise<void> => {
      if (path === '/') {
        response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>page</title>');
        return;
      }
      const text =
        made.get(path) ?? (SERVED.test(path) ? await readFile(join(ROOT, path), 'utf8') : undefined);
      if (text === undefined) response.writeHead(404).end();
      else response.writeHead(200, { 'content-type': 'text/javascript' }).end(stripTypeScriptTypes(text));
    };
    serve().catch(() => response.writeHead(500).end());
  });
  const listening = Promise.withResolvers<void>();
  server.once('error', listening.reject).listen(0, '127.0.0.1', listening.resolve);
  await listening.promise;
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      server.closeAllConnections();
      await closed.promise;
    },
  };
}
