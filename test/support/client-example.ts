/**
 * The examples of docs/client.md, taken out of it as they are printed, for tests that run them so that they stay true.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const GUIDE: string = readFileSync(join(import.meta.dirname, '../../docs/client.md'), 'utf8');

/** The code under a heading, for a fleet that is not the one that it names. Its imports are from the repository's root. */
export function clientExample(heading: string, canonicalOrigin: string): string {
  const section = GUIDE.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  const code = /```ts\n([\s\S]*?)```/.exec(section)?.[1];
  if (code === undefined) throw new Error(`docs/client.md has no example under "${heading}"`);
  return code.replaceAll('https://relay.example.com', canonicalOrigin);
}
