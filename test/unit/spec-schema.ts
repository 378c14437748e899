import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Ajv from 'ajv-draft-04'

/** The specification's own schema: Debian's golang-github-opencontainers-specs-dev. */
const DIRECTORY = '/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema'

/** Complaints about a document, none if it is valid. */
export type Validate = (document: unknown) => string[]

/** `config-schema.json` and its kind. */
export function schemaOf(file: string): Validate {
  return compiled({ $ref: file })
}

const flag = { type: 'object', properties: { enabled: { type: 'boolean' } } }
const names = { $ref: 'defs.json#/definitions/ArrayOfStrings' }
const listOf = (definition: string): object => ({
  type: 'array',
  items: { $ref: `defs-linux.json#/definitions/${definition}` },
})

/** features.md and features-linux.md, for Debian 12, whose package is older than features-schema.json. */
const FEATURES = {
  type: 'object',
  required: ['ociVersionMin', 'ociVersionMax'],
  properties: {
    ociVersionMin: { type: 'string' },
    ociVersionMax: { type: 'string' },
    hooks: names,
    mountOptions: names,
    annotations: { $ref: 'defs.json#/definitions/annotations' },
    linux: {
      type: 'object',
      properties: {
        namespaces: listOf('NamespaceType'),
        capabilities: { type: 'array', items: { type: 'string', pattern: '^CAP_[A-Z_]+$' } },
        cgroup: { type: 'object', additionalProperties: { type: 'boolean' } },
        seccomp: {
          type: 'object',
          properties: {
            enabled: { type: 'boolean' },
            actions: listOf('SeccompAction'),
            operators: listOf('SeccompOperators'),
            archs: listOf('SeccompArch'),
            knownFlags: listOf('SeccompFlag'),
            supportedFlags: listOf('SeccompFlag'),
          },
        },
        apparmor: flag,
        selinux: flag,
        intelRdt: flag,
        mountExtensions: { type: 'object', properties: { idmap: flag } },
      },
    },
  },
}

/** The document of `features`; what it names must be words that the configuration's schema has. */
export function featuresSchema(): Validate {
  return compiled(existsSync(join(DIRECTORY, 'features-schema.json')) ? { $ref: 'features-schema.json' } : FEATURES)
}

/** Words that the schema at hand has for `definition` (of defs-linux.json). */
export function wordsOf(definition: string): readonly string[] {
  const { definitions } = JSON.parse(readFileSync(join(DIRECTORY, 'defs-linux.json'), 'utf8')) as {
    definitions: Record<string, { enum: string[] }>
  }
  return definitions[definition]?.enum ?? []
}

function compiled(schema: object): Validate {
  const ajv = new Ajv.default({ strict: false })
  for (const name of readdirSync(DIRECTORY).filter((entry) => entry.endsWith('.json'))) {
    ajv.addSchema(JSON.parse(readFileSync(join(DIRECTORY, name), 'utf8')) as object, name)
  }
  const validate = ajv.compile(schema)
  return (document) => {
    void validate(document)
    return (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
  }
}
