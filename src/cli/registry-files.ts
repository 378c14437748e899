import type { Entry } from './registry.ts'

/** Commands on the files of containers. */
export const FILE_ENTRIES: readonly Entry[] = [
  {
    name: 'cp',
    summary: 'Copy files between a container and this machine',
    group: 'Commands',
    load: async () => (await import('./commands/cp.ts')).cpCommand,
  },
  {
    name: 'commit',
    summary: 'Make an image of a container',
    group: 'Commands',
    load: async () => (await import('./commands/commit.ts')).commitCommand,
  },
  {
    name: 'diff',
    summary: 'Show what a container has otherwise than its image',
    group: 'Commands',
    load: async () => (await import('./commands/diff.ts')).diffCommand,
  },
  {
    name: 'export',
    summary: "Write a container's files as a tar archive",
    group: 'Commands',
    load: async () => (await import('./commands/export.ts')).exportCommand,
  },
]

/** Commands on archives of images, and on their names. */
export const ARCHIVE_ENTRIES: readonly Entry[] = [
  {
    name: 'save',
    summary: 'Write images to an archive or a directory',
    group: 'Commands',
    load: async () => (await import('./commands/save.ts')).saveCommand,
  },
  {
    name: 'load',
    summary: 'Take images in from an archive or a directory',
    group: 'Commands',
    load: async () => (await import('./commands/load.ts')).loadCommand,
  },
  {
    name: 'import',
    summary: 'Make an image of a root filesystem in a tar archive',
    group: 'Commands',
    load: async () => (await import('./commands/import.ts')).importCommand,
  },
  {
    name: 'tag',
    summary: 'Give an image a further name',
    group: 'Commands',
    load: async () => (await import('./commands/tag.ts')).tagCommand,
  },
  {
    name: 'untag',
    summary: 'Take names of an image away',
    group: 'Commands',
    load: async () => (await import('./commands/tag.ts')).untagCommand,
  },
  {
    name: 'history',
    summary: 'Show how an image came to be',
    group: 'Commands',
    load: async () => (await import('./commands/history.ts')).historyCommand,
  },
  {
    name: 'image exists',
    summary: 'End with 0 where there is an image of this name, with 1 where not',
    group: 'image',
    load: async () => (await import('./commands/image.ts')).imageExistsCommand,
  },
  {
    name: 'image tree',
    summary: 'Show the layers of an image',
    group: 'image',
    load: async () => (await import('./commands/image.ts')).imageTreeCommand,
  },
  {
    name: 'image mount',
    summary: 'Mount the files of images read-only',
    group: 'image',
    load: async () => (await import('./commands/image-mount.ts')).imageMountCommand,
  },
  {
    name: 'image unmount',
    summary: 'Take images off that are mounted',
    group: 'image',
    load: async () => (await import('./commands/image-mount.ts')).imageUnmountCommand,
  },
  {
    name: 'image verify',
    summary: 'Look over what the store has of images',
    group: 'image',
    load: async () => (await import('./commands/image-verify.ts')).imageVerifyCommand,
  },
]
