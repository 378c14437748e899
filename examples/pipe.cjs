// node examples/pipe.cjs [IMAGE]    Streams this file through a command in a container.
const { createReadStream } = require('node:fs')
const { run } = require('tscrun')

async function main() {
  const sorted = run(process.argv[2] ?? 'alpine', ['sort', '-r'], {
    input: createReadStream(__filename),
    buffer: false,
  })
  sorted.stdout.pipe(process.stdout)
  sorted.stderr.pipe(process.stderr)
  await sorted
}

main().catch((error) => {
  console.error(error.message)
  process.exitCode = 1
})
