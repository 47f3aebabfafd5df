import { rmdir, unlink } from 'node:fs/promises';
import { describe, expect, test, vi } from 'vitest';
import { deleteObject } from './delete.ts';

vi.mock('node:fs/promises', async (original) => ({
  ...(await original<object>()),
  unlink: vi.fn<typeof unlink>(),
  rmdir: vi.fn<typeof rmdir>(),
}));

function refusing(code: string): void {
  vi.mocked(unlink).mockRejectedValueOnce(Object.assign(new Error(code), { code }));
}

describe('deleting from a folder', () => {
  test('what is immutable is kept, because it would be the same the next time', async () => {
    refusing('EPERM');
    expect(await deleteObject('/tmp', 'object')).toEqual({
      outcome: 'kept',
      until: undefined,
      reason: expect.stringContaining('immutable'),
    });
  });

  test('every other refusal is an error', async () => {
    for (const code of ['EROFS', 'EACCES', 'EIO']) {
      refusing(code);
      // oxlint-disable-next-line no-await-in-loop -- three
      await expect(deleteObject('/tmp', 'object')).rejects.toMatchObject({ code });
    }
    expect(rmdir).not.toHaveBeenCalled();
  });
});
