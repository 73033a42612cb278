/**
 * The release in a bucket of the site's own, at AWS. Nobody but the site's machines reads it, each with its own role:
 * the archive is no secret, but a bucket that the world may read is one that the world may run up a bill with.
 */
import { Bucket, BucketObjectv2, BucketPublicAccessBlock } from '@pulumi/aws/s3/index.js';
import { asset, interpolate, type Output, type Resource } from '@pulumi/pulumi';
import { archiveName } from '../release.ts';
import type { Role } from '../site.ts';
import type { SiteContext } from './aws-machine.ts';

/** Where machines find the release that Pulumi uploaded. */
export interface StoredRelease {
  readonly url: Output<string>;
  /** What must be there before a machine starts. */
  readonly archive: Resource;
  /** A statement of the role of machines that run the release. */
  readonly statement: (role: Role) => Output<object[]>;
}

/** Uploads the release, if the configuration gives a file. */
export function createRelease({ spec, options, tags, opts }: SiteContext): StoredRelease | undefined {
  const { file, sha256 } = options.release;
  if (file === undefined) return undefined;
  const name = `${spec.name}-release`;
  // Empties itself when the site is torn down; what is in it can be made again from the source.
  const bucket = new Bucket(name, { forceDestroy: true, tags }, opts);
  const closed = new BucketPublicAccessBlock(
    name,
    {
      bucket: bucket.id,
      blockPublicAcls: true,
      blockPublicPolicy: true,
      ignorePublicAcls: true,
      restrictPublicBuckets: true,
    },
    opts,
  );
  const key = archiveName(sha256);
  const archive = new BucketObjectv2(
    name,
    { bucket: bucket.id, key, source: new asset.FileAsset(file), sourceHash: sha256, tags },
    // The release before stays: a group that rolls back by itself starts machines from it.
    { ...opts, dependsOn: [closed], retainOnDelete: true },
  );
  const objects = interpolate`${bucket.arn}/*`;
  return {
    url: interpolate`s3://${bucket.id}/${key}`,
    archive,
    statement: (role) =>
      objects.apply((Resource) =>
        role === 'redis' ? [] : [{ Effect: 'Allow', Action: 's3:GetObject', Resource }],
      ),
  };
}
