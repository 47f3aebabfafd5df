/** Moves a member's data and changes a file in a process of its own, for which there is SELinux. Its order is the argument. */
import { moveData } from '../../../src/member/replace/local/data-dir.ts';
import { replaceFile } from '../../../src/member/replace/local/files.ts';

export interface LabelOrder {
  readonly dataDir: string;
  readonly file: string;
}

if (import.meta.main) {
  const { dataDir, file } = JSON.parse(process.argv[2]!) as LabelOrder;
  const signal = AbortSignal.timeout(30_000);
  await moveData({ dataDir, walDir: undefined }, 'NOW', signal);
  await replaceFile(file, 'changed\n', signal);
}
