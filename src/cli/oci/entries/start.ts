import { start } from '../commands/start.ts'
import { dispatch } from '../dispatch.ts'
import { endProcess } from '../../end.ts'

// The program of this verb alone, all in one file: what callers wait for, several times a container.
void dispatch(process.argv.slice(2), { start: () => Promise.resolve(start) }).then(endProcess)
