/**
 * The release in a bucket of the site's own, at Google. Nobody but the site's machines reads it, each with its own
 * account: the archive is no secret, but a bucket that the world may read is one that the world may run up a bill with.
 */
import { Bucket, BucketIAMMember, BucketObject } from '@pulumi/gcp/storage/index.js';
import { asset, interpolate, type Output, type Resource } from '@pulumi/pulumi';
import { archiveName } from '../release.ts';
import type { Role } from '../site.ts';
import type { SiteContext } from './gcp-machine.ts';

/** Where machines find the release that Pulumi uploaded. */
export interface StoredRelease {
  readonly url: Output<string>;
  /** What must be there before a machine starts. */
  readonly archive: Resource;
  /** Lets the account of machines that run the release read it. */
  readonly letRead: (role: Role, member: Output<string>) => void;
}

/** Uploads the release, if the configuration gives a file. */
export function createRelease({ spec, options, labels, opts }: SiteContext): StoredRelease | undefined {
  const { file, sha256 } = options.release;
  if (file === undefined) return undefined;
  const name = `${spec.name}-release`;
  const bucket = new Bucket(
    name,
    {
      location: spec.location,
      publicAccessPrevention: 'enforced',
      uniformBucketLevelAccess: true,
      // Empties itself when the site is torn down; what is in it can be made again from the source.
      forceDestroy: true,
      labels,
    },
    opts,
  );
  const object = archiveName(sha256);
  const archive = new BucketObject(
    name,
    { bucket: bucket.name, name: object, source: new asset.FileAsset(file) },
    // The release before stays: machines may still be started from it.
    { ...opts, retainOnDelete: true },
  );
  return {
    url: interpolate`gs://${bucket.name}/${object}`,
    archive,
    letRead: (role, member) => {
      if (role === 'redis') return;
      const reader = { bucket: bucket.name, role: 'roles/storage.objectViewer', member };
      new BucketIAMMember(`${spec.name}-${role}-release`, reader, opts);
    },
  };
}
