/**
 * Certificates that operators put into two files. They are read every few seconds and compared, rather than watched:
 * a rename, a symbolic link or a mounted secret changes a file in ways of which no watcher tells.
 */
import { readFile } from 'node:fs/promises';
import { fail, ok } from '../../system/result.ts';
import type { CertificateSource } from '../certificate.ts';

const EVERY_MS = 10_000;

/** The PEM files at these paths; a chain and a key that do not belong together yet are looked at again. */
export function certificateFiles(certificatePath: string, keyPath: string): CertificateSource {
  return {
    everyMs: { without: EVERY_MS, with: EVERY_MS },
    look: async () => {
      try {
        const [chainPem, keyPem] = await Promise.all([
          readFile(certificatePath, 'utf8'),
          readFile(keyPath, 'utf8'),
        ]);
        return ok({ chainPem, keyPem });
      } catch {
        return fail({
          fault: 'unreadable',
          detail: 'RELAY_TLS_CERTIFICATE or RELAY_TLS_KEY cannot be read',
        });
      }
    },
  };
}
