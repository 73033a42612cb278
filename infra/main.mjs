/**
 * What `pulumi up` starts. It runs on the PATH's Node, which may be older than what strips types, so this file is
 * plain JavaScript and its only work is one clear sentence in that case.
 */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  throw new Error(
    `Node ${process.versions.node} is too old for this program: install Node 22.18 or newer on the PATH that pulumi sees.`,
  );
}
/** The stack's outputs. */
export const { sites } = await import('./index.ts');
