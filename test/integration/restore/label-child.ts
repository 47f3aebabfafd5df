/** Moves a member's data and changes a file in a process of its own, for which there is SELinux. Its arguments are the two. */
import { moveData } from '../../../src/member/replace/local/data-dir.ts';
import { replaceFile } from '../../../src/member/replace/local/files.ts';

const [dataDir = '', file = ''] = process.argv.slice(2);
const signal = AbortSignal.timeout(30_000);
await moveData({ dataDir, walDir: undefined }, 'NOW', signal);
await replaceFile(file, 'changed\n', signal);
