/**
 * The door: says in one sentence when the Node that runs this is too old, then opens main.ts.
 *
 * Older Nodes must be able to parse this file, so it is JavaScript of ten years ago, and the check comes before the
 * first import of anything else.
 */
var major = Number(process.versions.node.split('.')[0]);
if (major >= 24) {
  void import('./main.ts');
} else {
  process.stderr.write(
    'Archipelago needs Node 24 or newer, and this is Node ' +
      process.versions.node +
      ' (' +
      process.execPath +
      '): use `npm ci` and then `npm start` or `npm run drill`, which run a Node of their own on Linux and macOS ' +
      '(x64, arm64), or install Node 26.\n',
  );
  process.exitCode = 64;
}
