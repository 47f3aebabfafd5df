import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { WardenError } from '../errors.ts';
import { compactWish, DISARM, fullCluster, MIB } from '../../test/support/planner.ts';
import { playedCluster, type Played } from '../../test/support/played-cluster.ts';
import { runRound } from './round.ts';
import type { Pace } from './steps/setting.ts';

/** Never answers, as long as nobody gives up. */
function forever(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new WardenError('interrupted', 'given up'))));
}

function defragsOf(played: Played): string[] {
  return played.calls.filter((call) => call.startsWith('defrag'));
}

describe.concurrent('a round that goes well', () => {
  test('H1, H4: freezes the followers one after the other, moves the leader away and freezes it last', async () => {
    const played = playedCluster();
    let inflight = 0;
    played.onDefrag = async (_, well) => {
      expect(++inflight).toBe(1);
      await sleep(3);
      inflight--;
      well();
    };
    const result = await runRound(played.round());
    expect(result).toMatchObject({ outcome: 'done', failure: undefined });
    expect(played.calls.map((call) => call.split(' ')[0])).toEqual(['defrag', 'defrag', 'move', 'defrag']);
    expect(played.calls.at(-1)).toBe('defrag 1a');
    expect(result.actions.filter(({ action }) => action === 'defrag')).toEqual(
      ['m2', 'm3', 'm1'].map(() => expect.objectContaining({ beforeBytes: 20 * MIB, afterBytes: 100_000 }) as unknown),
    );
    expect(played.notes.map(({ kind }) => kind)).toEqual(['defragmented', 'defragmented', 'defragmented']);
  });

  test('nothing to do is no action and no note', async () => {
    const played = playedCluster(3, { each: () => ({ dbSize: 20 * MIB, dbSizeInUse: 20 * MIB }) });
    expect(await runRound(played.round())).toMatchObject({ outcome: 'nothing', actions: [] });
    expect(played.notes).toEqual([]);
  });

  test('the members rest between two steps, and are looked at again after the rest', async () => {
    const played = playedCluster();
    const round = played.round({ settleMs: 200 });
    played.onDefrag = async (_, well) => {
      well();
      // While the members rest the leader changes: the next step is that of the cluster as it is then.
      played.onLook = () => {
        if (!played.progress.some(({ step }) => step === 'settle')) return;
        played.onLook = undefined;
        played.lead('3a');
      };
    };
    await runRound(round);
    expect(defragsOf(played)).toEqual(['defrag 2a', 'defrag 1a', 'defrag 3a']);
    expect(played.progress.some(({ step, message }) => step === 'settle' && /1 s to go/.test(message))).toBe(true);
  });

  test('what passes by itself after a step is waited for', async () => {
    const played = playedCluster();
    let looks = 0;
    played.onDefrag = async (id, well) => {
      well();
      if (id === '2a') played.change('3a', { readMs: undefined });
      played.onLook = () => {
        if (++looks === 5) played.change('3a', { readMs: 2 });
      };
    };
    expect(await runRound(played.round())).toMatchObject({ outcome: 'done' });
    expect(looks).toBeGreaterThan(4);
  });

  test('a success after surprises closes their row', async () => {
    const played = playedCluster();
    const round = played.round();
    await round.record.note(
      { kind: 'failed', atMs: played.state.nowMs - 100 * 3_600_000, rule: 'surprise', reason: 'why' },
      round.setting.signal,
    );
    expect(await runRound(round)).toMatchObject({ outcome: 'done' });
    expect(played.notes.at(-1)).toMatchObject({ kind: 'recovered' });
  });
});

describe.concurrent('a round that meets a surprise ends there', () => {
  test.each([
    ['an error of the member', new WardenError('etcd-failed', 'no space left on device'), 'surprise', /no space left on device/],
    ['a missing right', new WardenError('permission-denied', 'root is needed'), 'permission-denied', /root is needed/],
    ['something unheard of', new TypeError('x is not a function'), 'surprise', /x is not a function/],
  ])('%s is told once the member answers reads, and is noted', async (_, error, code, message) => {
    const played = playedCluster();
    played.onDefrag = async () => Promise.reject(error);
    const result = await runRound(played.round());
    expect(result).toMatchObject({ outcome: 'failed', failure: { code, message: expect.stringMatching(message) as string } });
    expect(defragsOf(played)).toHaveLength(1);
    expect(played.notes).toMatchObject([{ kind: 'failed', rule: code }]);
  });

  test('H2: when the connection breaks, nothing is begun and the lock is kept until the member answers again', async () => {
    const played = playedCluster();
    played.onDefrag = async (id, well) => {
      played.change(id, { readMs: undefined, error: 'did not answer within 2000 ms' });
      // It comes back when it was told that it is waited for.
      played.onLook = () => {
        if (!played.progress.some(({ message }) => /to answer and to catch up/.test(message))) return;
        well();
        played.change(id, { readMs: 2, error: undefined });
      };
      return Promise.reject(new WardenError('unreachable', 'read ECONNRESET'));
    };
    expect(await runRound(played.round())).toMatchObject({ outcome: 'failed', failure: { code: 'surprise' } });
    expect(played.state.members[1]).toMatchObject({ readMs: 2, dbSize: 100_000 });
    expect(defragsOf(played)).toHaveLength(1);
  });

  test('H2, H3: an overdue answer is an alarm and no permission to go on; the call is never sent again', async () => {
    const played = playedCluster();
    played.onDefrag = async (id, well) => {
      played.change(id, { readMs: undefined });
      await sleep(60);
      played.change(id, { readMs: 2 });
      well();
    };
    const result = await runRound(played.round({ pace: { alarmMs: 5 } }));
    expect(result.outcome).toBe('done');
    expect(played.errors).toContain('a defragmentation takes far longer than predicted; nothing else is begun before the member answers');
    expect(played.progress.some(({ overdue }) => overdue === true)).toBe(true);
    expect(result.actions[0]).toMatchObject({ action: 'defrag', overdue: true });
    expect(defragsOf(played)).toEqual(['defrag 2a', 'defrag 3a', 'defrag 1a']);
  });

  test('H2: a member that does everything but answer the call, long after the alarm, ends the round; it is not asked again', async () => {
    const played = playedCluster();
    let call: AbortSignal | undefined;
    played.onDefrag = async (_, well, signal) => {
      call = signal;
      well();
      await forever(signal);
    };
    const result = await runRound(played.round({ pace: { alarmMs: 5 } }));
    expect(result).toMatchObject({
      outcome: 'failed',
      failure: { code: 'surprise', message: expect.stringContaining('never answered') as string },
    });
    expect(defragsOf(played)).toHaveLength(1);
    // Nothing is left that would keep the process alive.
    expect(call?.aborted).toBe(true);
  });

  test('H2: a member that still counts a defragmentation is frozen, whatever it answers', async () => {
    const played = playedCluster();
    const gauges = played.state.members[0]!.gauges!;
    let frozen = true;
    played.onDefrag = async (id, well, signal) => {
      played.change(id, { gauges: { ...gauges, defragInflight: true } });
      setTimeout(() => {
        frozen = false;
        well();
        played.change(id, { gauges: { ...gauges, defragInflight: false } });
      }, 80);
      await forever(signal);
    };
    const result = await runRound(played.round({ pace: { alarmMs: 5 } }));
    expect(result.outcome).toBe('failed');
    expect(frozen).toBe(false);
  });

  test('a member that was killed while it was frozen is not waited for without end', async () => {
    const played = playedCluster();
    played.onDefrag = async (id) => {
      played.change(id, { reachable: false, readMs: undefined, endpoint: '', error: 'connect ECONNREFUSED 127.0.0.1:2379' });
      return Promise.reject(new WardenError('unreachable', 'read ECONNRESET'));
    };
    const result = await runRound(played.round({ pace: { deadMs: 5 } }));
    expect(result.failure?.message).toMatch(/m\d does not run any more: connect ECONNREFUSED/);
  });

  test('nor one whose machine is gone while something between keeps the call open', async () => {
    const played = playedCluster();
    played.onDefrag = async (id, _well, signal) => {
      played.change(id, { reachable: false, readMs: undefined, error: 'no connection to http://10.0.0.2:2379 within 2000 ms' });
      await forever(signal);
    };
    const result = await runRound(played.round({ pace: { alarmMs: 5, deadMs: 5 } }));
    expect(result.failure?.message).toMatch(/m2 does not run any more: no connection to/);
  });

  test('a cluster of one member, where nobody answers meanwhile, is waited for', async () => {
    const played = playedCluster(1);
    let dead = false;
    played.onLook = () => {
      if (dead) throw new WardenError('unreachable', 'no member can be asked: Maintenance/Status did not answer within 2000 ms');
    };
    played.onDefrag = async (_, well) => {
      dead = true;
      setTimeout(() => {
        dead = false;
        well();
      }, 30);
      return Promise.reject(new WardenError('unreachable', 'cut'));
    };
    const policy = { ...played.round().policy, allowSingleMember: true };
    expect(await runRound(played.round({ policy }))).toMatchObject({ outcome: 'failed', failure: { code: 'surprise' } });
    expect(dead).toBe(false);
  });

  test('a member that answers but does not catch up', async () => {
    const played = playedCluster();
    played.onDefrag = async (id, well) => {
      well();
      played.change(id, { raftAppliedIndex: 0n });
      played.change('1a', { raftIndex: 90_000n, raftAppliedIndex: 90_000n });
    };
    expect((await runRound(played.round({ pace: { recoverMs: 10 } }))).failure?.message).toContain('has not caught up with the others');
  });

  test('H8: a member that has not shrunk', async () => {
    const played = playedCluster();
    played.onDefrag = async () => {};
    const result = await runRound(played.round());
    expect(result.failure?.message).toMatch(/m\d was defragmented and has 20.0 MiB where it had 20.0 MiB: 19.9 MiB less were expected/);
    expect(defragsOf(played)).toHaveLength(1);
    expect(played.notes).toMatchObject([{ kind: 'failed' }]);
  });

  test('H12: CORRUPT that is raised meanwhile', async () => {
    const played = playedCluster();
    played.onDefrag = async (_, well) => {
      well();
      played.state = { ...played.state, alarms: [{ type: 'CORRUPT', memberId: '0' }] };
    };
    expect((await runRound(played.round())).failure?.message).toContain('CORRUPT');
  });

  test('a frozen member that comes to lead is shouted about and waited for', async () => {
    const played = playedCluster();
    played.onDefrag = async (id, well) => {
      played.lead(id);
      await sleep(15);
      well();
    };
    await runRound(played.round());
    expect(played.errors).toContain('the member that is being defragmented leads, or nobody does');
  });

  test.each([
    ['refuses', async (): Promise<void> => Promise.reject(new WardenError('timeout', 'no answer'))],
    ['says yes and stays', async (): Promise<void> => {}],
  ])('H1: a leader that %s is not defragmented', async (_, onMove) => {
    const played = playedCluster();
    played.onMove = onMove;
    const result = await runRound(played.round({ pace: { leaderMs: 10 } }));
    expect(result).toMatchObject({ outcome: 'failed', failure: { code: 'surprise' } });
    expect(defragsOf(played)).not.toContain('defrag 1a');
  });

  test('H1: a third member that leads instead is no surprise to hide', async () => {
    const played = playedCluster(5);
    played.onMove = async (to) => played.lead(to === '2a' ? '3a' : '2a');
    expect((await runRound(played.round({ pace: { leaderMs: 10 } }))).failure?.message).toMatch(/m\d was to lead, and m\d leads after/);
  });

  test('H1: leadership that moves onto the member in the last moment is seen, and planned anew', async () => {
    const played = playedCluster();
    let moved = false;
    played.onStatus = (id) => {
      if (moved) return;
      moved = true;
      played.lead(id);
    };
    const result = await runRound(played.round());
    expect(result.outcome).toBe('done');
    expect(defragsOf(played)).toHaveLength(3);
    // m2 was chosen and led all of a sudden: it comes last now.
    expect(defragsOf(played).at(-1)).toBe('defrag 2a');
  });

  test('a cluster that never stands still is left alone', async () => {
    const played = playedCluster();
    played.onStatus = (id) => played.lead(id);
    const result = await runRound(played.round());
    expect(result).toMatchObject({
      outcome: 'failed',
      failure: { code: 'surprise', message: expect.stringContaining('changed 5 times') as string },
    });
    expect(played.calls.filter((call) => call.startsWith('defrag'))).toEqual([]);
  });

  test('an address that leads to somebody else by now freezes nobody', async () => {
    const played = playedCluster();
    const { clusterId } = played.state;
    played.onStatus = () => {
      played.state = { ...played.state, clusterId: 'bad' };
    };
    played.onLook = () => {
      played.state = { ...played.state, clusterId };
    };
    expect((await runRound(played.round())).failure?.message).toContain('leads to another member');
    expect(played.calls).toEqual([]);
  });

  test('a lock that somebody else has now stops it before the next step, and says nothing of the cluster', async () => {
    const played = playedCluster();
    let asked = 0;
    played.confirm = async () => {
      if (++asked > 1) throw new WardenError('locked', 'somebody else holds it now');
    };
    const result = await runRound(played.round());
    expect(result).toMatchObject({ outcome: 'failed', failure: { code: 'locked' } });
    expect(result.actions).toHaveLength(1);
    expect(played.notes.map(({ kind }) => kind)).toEqual(['defragmented']);
  });

  test('what the first look meets is thrown, since there is no plan to tell', async () => {
    const played = playedCluster();
    played.onLook = () => {
      throw new WardenError('unreachable', 'nobody answers');
    };
    await expect(runRound(played.round())).rejects.toMatchObject({ code: 'unreachable' });
  });
});

describe.concurrent('a round that is told to stop', () => {
  test('while a member is frozen says that it goes on there, and begins nothing else', async () => {
    const played = playedCluster();
    const stop = new AbortController();
    played.onDefrag = async (_, _well, signal) => {
      setTimeout(() => stop.abort(new WardenError('interrupted', 'stopped by SIGTERM')), 5);
      await forever(signal);
    };
    await expect(runRound(played.round({}, stop.signal))).rejects.toMatchObject({
      code: 'interrupted',
      message: expect.stringContaining('it goes on there') as string,
    });
    expect(played.calls).toHaveLength(1);
    expect(played.notes).toEqual([]);
  });

  test('while the members rest stops at once', async () => {
    const played = playedCluster();
    const stop = new AbortController();
    const round = played.round({ settleMs: 3_600_000 }, stop.signal);
    const running = runRound(round);
    setTimeout(() => stop.abort(new WardenError('interrupted', 'stopped by SIGTERM')), 10);
    await expect(running).rejects.toMatchObject({ code: 'interrupted' });
    expect(played.calls).toHaveLength(1);
  });
});

describe.concurrent('a compaction', () => {
  const wish = { ...compactWish({ revisions: 10 }) };
  function withHistory(): Played {
    const played = playedCluster(3, { revision: 5000n, compactRevision: 100n });
    return played;
  }
  const round = (played: Played, pace: Partial<Pace> = {}): ReturnType<Played['round']> =>
    played.round({ wish: { ...wish, since: played.state.nowMs }, pace });

  test('H11: is over when every member has finished, not when the one that was asked has', async () => {
    const played = withHistory();
    let waited = false;
    played.onCompact = async (_, well) => {
      well();
      played.change('3a', { compacting: true });
      return 'compacted';
    };
    played.onMemberCompact = async (id) => {
      if (id !== '3a') return 'already';
      await sleep(10);
      waited = true;
      played.change('3a', { compacting: false });
      return 'already';
    };
    const result = await runRound(round(played));
    expect(result).toMatchObject({ outcome: 'done', actions: [{ action: 'compact', revision: '4990' }] });
    expect(waited).toBe(true);
    expect(played.calls).toEqual(['compact 4990']);
    expect(played.notes).toMatchObject([{ kind: 'compacted', revision: 4990n }]);
  });

  test('H11: sizes that still fall are waited for where a member cannot be asked', async () => {
    const played = withHistory();
    played.change('2a', { dbSizeInUse: 19 * MIB });
    let falling = 0;
    played.onCompact = async (_, well) => {
      well();
      played.onLook = () => {
        if (++falling <= 6) played.change('2a', { dbSizeInUse: (19 - 2 * falling) * MIB });
      };
      return 'compacted';
    };
    played.onMemberCompact = async () => Promise.reject(new WardenError('timeout', 'late'));
    await runRound(round(played));
    expect(falling).toBeGreaterThan(8);
  });

  test('a member that does not come to an end is a surprise', async () => {
    const played = withHistory();
    played.onCompact = async (_, well) => {
      well();
      played.change('3a', { compacting: true });
      return 'compacted';
    };
    expect((await runRound(round(played, { compactMs: 5 }))).failure?.message).toMatch(/^m3 had not finished compacting/);
  });

  test('a late answer is no failure when the cluster was compacted', async () => {
    const played = withHistory();
    played.onCompact = async (_, well) => {
      well();
      return Promise.reject(new WardenError('timeout', 'late'));
    };
    expect(await runRound(round(played))).toMatchObject({ outcome: 'done' });
  });

  test('a lost answer is a surprise when it was not, or nobody can tell', async () => {
    for (const compactRevision of [100n, undefined]) {
      const played = withHistory();
      played.onCompact = async () => {
        played.state = { ...played.state, compactRevision };
        return Promise.reject(new WardenError('unreachable', 'cut'));
      };
      expect((await runRound(round(played))).failure?.message).toContain('was to be compacted at revision 4990');
    }
  });

  test('a missing right ends the round with its own code; who lacks it by hand makes no daemon back off', async () => {
    const played = withHistory();
    played.onCompact = async () => Promise.reject(new WardenError('permission-denied', 'root is needed'));
    expect((await runRound(round(played))).failure).toMatchObject({ code: 'permission-denied' });
    expect(played.notes).toEqual([]);
  });

  test('one that somebody else began is waited for', async () => {
    const played = withHistory();
    let looks = 0;
    played.onCompact = async (_, well) => {
      well();
      return 'already';
    };
    // After ours somebody compacts further.
    played.onLook = () => {
      looks++;
      played.change('2a', { compacting: played.notes.length > 0 && looks < 12 });
    };
    const result = await runRound(round(played));
    expect(result.actions.map(({ action }) => action)).toEqual(['compact', 'await-compaction']);
  });
});

describe.concurrent('the cure of NOSPACE', () => {
  const cured = (members: Partial<Parameters<typeof fullCluster>[1]> = {}): Played => {
    const played = playedCluster();
    const each = { dbSize: 101 * MIB, dbSizeInUse: 100_000, quota: { bytes: 100 * MIB, source: 'status' } } as const;
    played.state = fullCluster(3, { each: () => each, revision: 50_000n, ...members });
    return played;
  };

  test('H12: compacts, defragments every member, disarms by member id, and proves it by a put', async () => {
    const played = cured();
    expect(await runRound(played.round())).toMatchObject({ outcome: 'done' });
    const kinds = played.calls.map((call) => call.split(' ')[0]);
    expect(kinds.filter((kind) => kind === 'defrag')).toHaveLength(3);
    expect(played.calls.slice(-2)).toEqual(['disarm 1a', 'put']);
    expect(played.notes.map(({ kind }) => kind)).toEqual(['compacted', 'defragmented', 'defragmented', 'defragmented', 'disarmed']);
  });

  test('H12: an alarm that is back at once is a surprise, and counts as a disarming for the next hour', async () => {
    const played = cured();
    played.onDisarm = async () => {};
    const result = await runRound(played.round());
    expect(result.failure?.message).toContain('was disarmed and is armed again');
    expect(played.notes.slice(-2).map(({ kind }) => kind)).toEqual(['disarmed', 'failed']);
    expect(played.calls.filter((call) => call.startsWith('disarm'))).toHaveLength(1);
  });

  test.each([
    ['no-space', 'surprise'],
    ['permission-denied', 'permission-denied'],
  ] as const)('a put that is refused with %s ends as %s', async (refusal, code) => {
    const played = cured();
    played.onPut = async () => Promise.reject(new WardenError(refusal, 'refused'));
    expect((await runRound(played.round())).failure?.code).toBe(code);
  });

  test('H26: the alarm of a member that is gone is cleared by its id, without a put and without counting', async () => {
    const played = cured({ alarms: [{ type: 'NOSPACE', memberId: 'dead' }] });
    played.state = { ...played.state, members: played.state.members.map((member) => ({ ...member, dbSize: 100_000 })) };
    const result = await runRound(played.round({ wish: { ...DISARM, since: played.state.nowMs } }));
    expect(result.outcome).toBe('done');
    expect(played.calls).toEqual(['disarm dead']);
    expect(played.notes).toEqual([]);
  });
});
