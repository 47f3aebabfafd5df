/** The entry of the executable, of a checkout and of an installation alike. */
import { endQuietlyOnClosedPipe } from './output/terminal.ts';
import { runCli } from './run.ts';

endQuietlyOnClosedPipe();
const code = await runCli(process.argv.slice(2));
process.exitCode = code;
// Sockets of a client library must not keep a finished command alive; but a pipe may still hold what was printed. A failed write calls back
// before it is emitted as an error, which has an exit code of its own: hence the turn in between.
process.stdout.write('', () => process.stderr.write('', () => setImmediate(() => process.exit(code))));
