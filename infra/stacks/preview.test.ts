/**
 * `pulumi preview` of the example stack at Hetzner, with the real CLI, a state backend that is a directory, and a token
 * that nobody gave out: nothing of the program needs the provider's API before something is created.
 *
 * No package registry has the CLI, so this one test may be skipped in continuous integration too; its title says so.
 */
import { execFile, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { filledStack } from '../../test/support/stack-files.ts';

const ROOT = join(import.meta.dirname, '../..');
const isHere = spawnSync('pulumi', ['version']).status === 0;
const title = 'pulumi preview shows what would be created';

test.skipIf(!isHere)(
  isHere ? title : `${title} (skipped: no pulumi on this machine, and no registry that has it)`,
  { timeout: 600_000 },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'archipelago-pulumi-'));
    try {
      // In a copy, because the CLI writes into the stack's file.
      for (const name of ['Pulumi.yaml', 'package.json', 'infra', 'system']) {
        cpSync(join(ROOT, name), join(directory, name), { recursive: true });
      }
      symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
      const pulumi = createCaller(directory);
      const { 'archipelago:secrets': secrets, ...config } = filledStack('Pulumi.hetzner.yaml');
      // JSON is YAML; the secrets follow through the CLI, which encrypts them.
      writeFileSync(join(directory, 'infra/stacks/Pulumi.preview.yaml'), JSON.stringify({ config }));
      await pulumi('stack', 'init', 'preview');
      for (const [path, content] of pathsOf(secrets)) {
        await pulumi('config', 'set', '--secret', '--path', `archipelago:secrets.${path}`, content);
      }
      const { stdout } = await pulumi('preview', '--json');
      const { changeSummary } = JSON.parse(stdout) as { changeSummary: Record<string, number> };
      expect(Object.keys(changeSummary)).toEqual(['create']);
      expect(changeSummary['create']).toBeGreaterThan(15);
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
);

/** Calls the CLI in `directory`, where it also keeps its state and its own files. */
function createCaller(directory: string): (...words: readonly string[]) => Promise<{ stdout: string }> {
  const state = join(directory, 'state');
  mkdirSync(state);
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: directory,
    PULUMI_BACKEND_URL: `file://${state}`,
    PULUMI_CONFIG_PASSPHRASE: 'a passphrase',
    PULUMI_SKIP_UPDATE_CHECK: 'true',
    HCLOUD_TOKEN: 't'.repeat(64),
  };
  return (...words) =>
    promisify(execFile)('pulumi', [...words, '--non-interactive'], { cwd: directory, env });
}

/** `site.role.file` and content of every secret file. */
function pathsOf(secrets: unknown): [string, string][] {
  return Object.entries(secrets as Record<string, Record<string, Record<string, string>>>).flatMap(
    ([site, roles]) =>
      Object.entries(roles).flatMap(([role, files]) =>
        Object.entries(files).map(([file, content]): [string, string] => [
          `${site}.${role}.${file}`,
          content,
        ]),
      ),
  );
}
