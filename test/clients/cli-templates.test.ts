import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { compileTemplate, TemplateError } from '../../src/cli/output/template/evaluate.ts'

const home = mkdtempSync(join(tmpdir(), 'tscrun-cli-templates-'))
/** A store of its own: podman mounts something in its usual one whatever it is asked. */
const STORE = ['--root', join(home, 'root'), '--runroot', join(home, 'run'), '--storage-driver', 'vfs']

afterAll(() => {
  rmSync(home, { recursive: true, force: true })
})

/** podman prints its version through Go's own text/template, without touching anything: the oracle. */
function podman(template: string): string | undefined {
  const { status, stdout, stderr } = spawnSync('podman', [...STORE, 'version', '--format', template], {
    encoding: 'utf8',
  })
  // It ends with 0 and a message where the template is bad.
  return status === 0 && stderr === '' ? stdout : undefined
}

const data = JSON.parse(podman('json') ?? '{}') as { Client: Record<string, unknown> }

function ours(template: string): string | undefined {
  try {
    return `${compileTemplate(template)(data)}\n`
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return undefined
  }
}

const trim = (text: string | undefined): string | undefined => text?.replace(/\n+$/, '')

describe('templates give what Go gives', () => {
  it.each([
    '{{.Client.Version}}',
    '{{ .Client.Version }} {{ .Client.GoVersion}}',
    '{{json .Client.Version}} {{json .Client.Built}} {{json .Client}}',
    '{{.Client.Version | json}} {{.Client.Version | printf "%s-%s" "x"}}',
    '{{upper .Client.Version}} {{lower "ABC"}} {{title "abc def"}}',
    '{{join (split .Client.Version ".") "-"}} {{split "a,b" ","}}',
    '{{range split "a,b,c" ","}}<{{.}}>{{end}}',
    '{{range $i, $x := split "a,b" ","}}{{$i}}={{$x}} {{end}}',
    '{{range $x := split "a,b" ","}}{{$x}}{{end}}',
    '{{range slice (split "a" ",") 1}}x{{else}}none{{end}}',
    '{{if .Client.GitCommit}}yes{{else}}no{{end}}',
    '{{if eq .Client.Os "linux"}}L{{else if eq .Client.Os "darwin"}}D{{else}}?{{end}}',
    '{{if eq .Client.Os "x"}}L{{else if eq .Client.Os "linux"}}D{{else}}?{{end}}',
    '{{with .Client}}{{.Version}}{{end}}',
    '{{with .Client.GitCommit}}{{.}}{{else}}none{{end}}',
    '{{with $x := .Client.Os}}{{$x}}{{$.Client.Os}}{{end}}',
    '{{$x := "a"}}{{if true}}{{$x = "b"}}{{end}}{{$x}}',
    '{{$x := "a"}}{{if true}}{{$x := "b"}}{{$x}}{{end}}{{$x}}',
    'a {{- "b" -}} c {{/* comment */}} d {{- /* trimmed */ -}} e',
    'a\n{{- "b"}}\n{{"c" -}}\nd',
    '{{(split "a,b" ",") | len}} {{len .Client.Os}} {{len "ä"}}',
    '{{index (split "a,b" ",") 1}} {{slice "abcd" 1 3}}',
    '{{print 1 2 "x" "y" 3}} {{println "x" 1}}',
    '{{printf "%10s|%-10s|%q|%v|%d|%05d|%t|%%" "a" "b" "c\\"d" "e" 42 42 true}}',
    '{{printf "%.2f|%x|%5.1s|" 3.14159 "hi" "abc"}}',
    '{{and 1 0}} {{and "" "x"}}| {{or "" "x"}} {{or 0 ""}}| {{not true}} {{not ""}}',
    '{{eq 1 2 1}} {{ne "a" "b"}} {{lt 1 2}} {{le 2 2}} {{gt "b" "a"}} {{ge 1 2}}',
    '{{`raw "text"`}} {{"tab\\tend"}} {{"\\u00e9"}}',
    '{{true}} {{false}} {{1.5}} {{-3}}',
    '{{if and (eq .Client.Os "linux") (not .Client.GitCommit)}}both{{end}}',
    '{{if .Client.Built}}built{{else}}zero{{end}}',
    '{{pad "x" 2 3}}| {{truncate "abcdef" 3}}',
    'no action at all',
    '}} {',
  ])('%s', (template) => {
    expect(trim(ours(template))).toBe(trim(podman(template)))
    expect(ours(template)).toBeDefined()
  })

  it.each([
    '{{.Client.Version',
    '{{if true}}x',
    '{{end}}',
    '{{else}}',
    '{{}}',
    '{{if}}x{{end}}',
    '{{nosuch .Client}}',
    '{{.Client.Nope}}',
    '{{$x}}',
    '{{"abc}}',
    '{{.Client.Version.Major}}',
    '{{range 1 2}}x{{end}}',
    '{{"a" "b"}}',
    '{{(print 1}}',
    '{{1 | 2}}',
    '{{index (split "a" ",") 5}}',
    '{{lt 1 "a"}}',
    '{{"\\z"}}',
  ])('%s is refused', (template) => {
    expect(ours(template)).toBeUndefined()
    expect(podman(template)).toBeUndefined()
  })
})
