/**
 * The last good manifest and the last good overrides on disk, as they were signed, so that a vantage that starts while
 * nobody can be reached knows its fleet. What is read back is verified like anything that arrives.
 */
import { readFile, rm } from 'node:fs/promises';
import { writeWhole } from '../../system/whole-file.ts';

export interface DocumentFiles {
  /** Undefined when there is none, or none that can be read. */
  readManifest(): Promise<string | undefined>;
  readOverrides(): Promise<string | undefined>;
  /** Rejects with the system's error. */
  writeManifest(signed: string): Promise<void>;
  /** Undefined: there are none any more. */
  writeOverrides(signed: string | undefined): Promise<void>;
}

/** Two files; their directories exist. */
export function createDocumentFiles(manifestPath: string, overridesPath: string): DocumentFiles {
  const read = async (path: string): Promise<string | undefined> =>
    readFile(path, 'utf8').catch(() => undefined);
  return {
    readManifest: async () => read(manifestPath),
    readOverrides: async () => read(overridesPath),
    writeManifest: async (signed) => writeWhole(manifestPath, signed),
    writeOverrides: async (signed) =>
      signed === undefined ? rm(overridesPath, { force: true }) : writeWhole(overridesPath, signed),
  };
}
