/**
 * A small file that is written whole: to a new file beside it, flushed, then renamed over the old one. A crash leaves
 * the old content or the new, never half of one. Only its owner can read it.
 */
import { open, rename } from 'node:fs/promises';

/** Rejects with the system's error when it cannot be written; then the old content stays. */
export async function writeWhole(path: string, content: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
