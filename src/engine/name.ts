import { TscrunError } from '../model/errors.ts'

/** Two lists whose pairs make a name that is easy to say: `calm_harbor`. */
const FIRST = ['able', 'amber', 'brave', 'brisk', 'calm', 'clear', 'clever', 'cosy', 'crisp', 'eager', 'early', 'fair', 'fleet', 'fond', 'frank', 'gentle', 'glad', 'grand', 'green', 'happy', 'hardy', 'honest', 'jolly', 'keen', 'kind', 'lively', 'loyal', 'lucky', 'merry', 'mild', 'modest', 'neat', 'noble', 'patient', 'plain', 'polite', 'proud', 'quick', 'quiet', 'rapid', 'ready', 'round', 'silver', 'simple', 'smart', 'snug', 'sober', 'solid', 'steady', 'sunny', 'swift', 'tidy', 'true', 'trusty', 'upbeat', 'useful', 'vivid', 'warm', 'wise', 'witty', 'young', 'zesty']
const SECOND = ['anchor', 'badger', 'barrel', 'beacon', 'birch', 'bridge', 'brook', 'buoy', 'canal', 'cedar', 'cliff', 'clover', 'cove', 'crane', 'crate', 'delta', 'dock', 'dune', 'falcon', 'ferry', 'fjord', 'galley', 'glade', 'grove', 'harbor', 'heron', 'hold', 'island', 'jetty', 'keel', 'lagoon', 'lantern', 'ledge', 'maple', 'marina', 'mast', 'meadow', 'oak', 'orchard', 'otter', 'paddle', 'pier', 'pilot', 'pine', 'plover', 'pond', 'quay', 'raft', 'reef', 'ridge', 'river', 'rudder', 'sail', 'shoal', 'skiff', 'sloop', 'spruce', 'stork', 'tide', 'tiller', 'valley', 'wharf', 'willow', 'wren']

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/

/** Checks a name the user chose (docker's rule). Throws USAGE. */
export function checkName(name: string): string {
  if (NAME.test(name) && name.length <= 255) return name
  throw new TscrunError('USAGE', `--name ${JSON.stringify(name)}: not a container name`, {
    subject: name,
    hint: 'letters, digits, _ . and -, beginning with a letter or digit',
  })
}

/** A name for a container whose user gave none; the id picks it, and its beginning makes it unique. */
export function defaultName(id: string): string {
  const first = FIRST[Number.parseInt(id.slice(0, 4), 16) % FIRST.length]
  const second = SECOND[Number.parseInt(id.slice(4, 8), 16) % SECOND.length]
  return `${first}_${second}_${id.slice(8, 12)}`
}
