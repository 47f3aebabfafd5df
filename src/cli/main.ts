/** The entry of the executable, of a checkout and of an installation alike. */
import { endQuietlyOnClosedPipe } from './output/terminal.ts';
import { runCli } from './run.ts';

endQuietlyOnClosedPipe();
const code = await runCli(process.argv.slice(2));
process.exitCode = code;
// Sockets of a client library must not keep a finished command alive; but a pipe may still hold what was printed.
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)));
