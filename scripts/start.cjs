// dist/cli.cjs and dist/runtime.cjs: the first thing Node runs. ES5 until the version is known, because an old Node cannot parse the rest.
'use strict'
var version = process.versions.node.split('.')
if (version[0] < 20 || (version[0] == 20 && version[1] < 19)) {
  console.error(
    'tscrun: Node ' +
      process.versions.node +
      ' is too old: tscrun needs 20.19 or newer (' +
      process.execPath +
      '; TSCRUN_NODE=/path/to/node names another)',
  )
  process.exit(125)
}

// A third of a start is compiling. What the first `run` compiled is kept beside the program, named by Node's version and
// by what the build wrote as the program's last line, a digest of it; V8 refuses one that is not its own
// (docs/decisions/0012).
var fs = require('fs')
var Script = require('vm').Script
// The same program twice: for `run` all it needs is in one file, else in many small ones.
var folder = /runtime\.cjs$/.test(__filename) ? runtimeFolder() : process.argv.indexOf('run') > 0 ? 'run' : 'cli'
var directory = __dirname + '/' + folder
var program = directory + '/main.cjs'
// The build writes ASCII alone, which is read four times as fast under this name.
var text = fs.readFileSync(program, 'latin1')
var signature = text.slice(text.lastIndexOf('//') + 2).trim()
var cache = __dirname + '/cache/' + [folder.replace('/', '-'), process.version, signature].join('-')

/** The OCI runtime's verbs that callers wait for are programs of their own: the verb is the first word that is no flag. */
function runtimeFolder() {
  for (var at = 2; at < process.argv.length; at++) {
    var word = process.argv[at]
    if (!/^-/.test(word)) return /^(create|start|state|kill|delete|exec)$/.test(word) ? 'runtime/' + word : 'runtime'
    if (/^--(root|log|log-format|cgroup-manager|rootless|criu)$/.test(word)) at++
  }
  return 'runtime'
}

/** The cache's bytes, undefined where there is none yet. */
function readCache() {
  try {
    return fs.readFileSync(cache)
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'EACCES') return undefined
    throw error
  }
}

/** Keeps what has been compiled until now. Where it may not be written, every start compiles. */
function writeCache(script) {
  var own = cache + '.' + process.pid
  var made = fs.statSync(program)
  try {
    // A start by root leaves nothing in the checkout that its owner cannot remove.
    if (fs.mkdirSync(__dirname + '/cache', { recursive: true })) fs.lchownSync(__dirname + '/cache', made.uid, made.gid)
    fs.writeFileSync(own, script.createCachedData())
    fs.lchownSync(own, made.uid, made.gid)
    fs.renameSync(own, cache)
  } catch (error) {
    // Whatever a filesystem has against it (read-only, full, rebuilt just now): the command itself has done its work.
    if (error.syscall === undefined) throw error
  }
}

var main = new module.constructor(program, module)
main.filename = program
main.paths = module.paths
module.constructor._cache[program] = main
var cached = readCache()
// The bundler's own few functions stand in a file that the others ask for: to look for it as Node does would take longer
// than all of it is worth.
var shared = './rolldown-runtime.cjs'
var helpers = text.indexOf(shared) < 0 ? '' : fs.readFileSync(directory + '/' + shared, 'latin1')
var head = '[function (exports, require, module, __filename, __dirname) {'
var script = new Script(head + text + '\n},function (exports) {' + helpers + '\n}]', {
  filename: program,
  // Places in the program's first line, which is nearly all of it, are as in its own file.
  columnOffset: -head.length,
  cachedData: cached,
})
if (cached === undefined || script.cachedDataRejected) {
  process.on('exit', function (code) {
    if (code !== 125) writeCache(script)
  })
}
var functions = script.runInThisContext()
var loaded
functions[0].call(
  main.exports,
  main.exports,
  function (id) {
    if (id !== shared) return main.require(id)
    if (loaded === undefined) functions[1]((loaded = {}))
    return loaded
  },
  main,
  program,
  directory,
)
main.loaded = true
