import { state } from '../commands/state.ts'
import { dispatch } from '../dispatch.ts'
import { endProcess } from '../../end.ts'

// The program of this verb alone, all in one file: what callers wait for, several times a container.
void dispatch(process.argv.slice(2), { state: () => Promise.resolve(state) }).then(endProcess)
