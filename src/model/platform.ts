import { TscrunError } from './errors.ts'
import type { Platform } from './image.ts'

const OPERATING_SYSTEMS = new Set(['linux', 'windows', 'darwin', 'freebsd', 'netbsd', 'openbsd', 'solaris', 'wasip1'])

/** What people and uname call an architecture -> Go's name for it. */
const ARCHITECTURES = new Map([
  ['amd64', 'amd64'],
  ['x86_64', 'amd64'],
  ['x86-64', 'amd64'],
  ['x64', 'amd64'],
  ['arm64', 'arm64'],
  ['aarch64', 'arm64'],
  ['arm', 'arm'],
  ['armhf', 'arm'],
  ['armel', 'arm'],
  ['386', '386'],
  ['i386', '386'],
  ['i686', '386'],
  ['ia32', '386'],
  ['ppc64le', 'ppc64le'],
  ['riscv64', 'riscv64'],
  ['s390x', 's390x'],
  ['loong64', 'loong64'],
  ['mips64le', 'mips64le'],
  ['mips64', 'mips64'],
  ['mipsle', 'mipsle'],
  ['mips', 'mips'],
  ['ppc64', 'ppc64'],
])

/**
 * Reads `os/arch[/variant]`, an architecture alone for linux, or with `host` a system alone for its architecture: what
 * docker takes. Throws USAGE.
 */
export function parsePlatform(text: string, host?: Platform): Platform {
  const parts = text.toLowerCase().split('/')
  const [word = ''] = parts
  if (parts.length === 1 && word !== '') {
    if (host !== undefined && OPERATING_SYSTEMS.has(word)) return { ...host, os: word }
    if (ARCHITECTURES.has(word)) return normalizePlatform({ os: 'linux', architecture: word })
    throw badPlatform(text, 'unknown operating system or architecture')
  }
  const [os = '', architecture = '', variant] = parts
  if (parts.length > 3 || !OPERATING_SYSTEMS.has(os) || !/^[a-z0-9_-]+$/.test(architecture)) throw notPlatform(text)
  if (variant !== undefined && !/^[a-z0-9._-]+$/.test(variant)) throw notPlatform(text)
  return normalizePlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) })
}

function notPlatform(text: string): TscrunError {
  return badPlatform(text, 'not of the form os/architecture[/variant]')
}

function badPlatform(text: string, why: string): TscrunError {
  return new TscrunError('USAGE', `platform ${JSON.stringify(text)}: ${why}`, {
    subject: text,
    hint: 'for example linux/amd64 or linux/arm64/v8',
  })
}

/** One spelling for each platform: Go's names, and no variant where it is the only or the basic one. */
export function normalizePlatform(platform: Platform): Platform {
  const architecture = ARCHITECTURES.get(platform.architecture) ?? platform.architecture
  const variant = platform.variant ?? (platform.architecture === 'armel' ? 'v6' : undefined)
  const basic = (architecture === 'arm64' && variant === 'v8') || (architecture === 'amd64' && variant === 'v1')
  return { os: platform.os, architecture, ...(variant === undefined || variant === '' || basic ? {} : { variant }) }
}

/** `linux/arm/v7`. */
export function formatPlatform(platform: Platform): string {
  return `${platform.os}/${platform.architecture}${platform.variant === undefined ? '' : `/${platform.variant}`}`
}

/** The platform of images that run on a processor, given Node's `process.arch`. */
export function platformOfArch(arch: string): Platform {
  return normalizePlatform({ os: 'linux', architecture: arch })
}

/**
 * How well a platform on offer serves the one asked for: 0 is exact, more is worse, undefined is not at all.
 * Processors run the code of older variants (arm/v7 runs v6 and v5, amd64/v3 runs v2 and v1), never of newer ones.
 */
export function platformDistance(wanted: Platform, offered: Platform): number | undefined {
  const want = normalizePlatform(wanted)
  const offer = normalizePlatform(offered)
  if (want.os !== offer.os || want.architecture !== offer.architecture) return undefined
  const wantLevel = variantLevel(want)
  const offerLevel = variantLevel(offer)
  if (wantLevel === undefined || offerLevel === undefined) return want.variant === offer.variant ? 0 : undefined
  return offerLevel > wantLevel ? undefined : wantLevel - offerLevel
}

/** The number in `v7`; without a variant the basic one of the architecture. */
function variantLevel(platform: Platform): number | undefined {
  const basic = { arm: 7, arm64: 8, amd64: 1 }[platform.architecture] ?? 0
  if (platform.variant === undefined) return basic
  const digits = /^v(\d{1,2})$/.exec(platform.variant)
  return digits === null ? undefined : Number(digits[1])
}
