/** How restores of one store's backups were rehearsed, as the checks beside them tell. Pure. */
import { isImported, type Catalog } from '../catalog/types.ts';
import type { Check } from '../format/types.ts';
import type { DrillSurvey, SurveyedDrill } from './types.ts';

/** Drills of a backup go with it: the daemon keeps in mind what it has seen. */
export function drillsOn({ backups }: Catalog, store: string): DrillSurvey {
  const held = backups.filter((backup) => !isImported(backup) && backup.copies.some((copy) => copy.store === store));
  const drills = backups
    .flatMap((backup) => backup.drills.filter((check) => check.store === store).map(surveyedDrill))
    .sort((a, b) => b.atMs - a.atMs);
  return {
    store,
    firstMs: held[0]?.timeMs,
    last: drills[0],
    sound: drills.find(({ outcome }) => outcome === 'ok'),
    failed: drills.find(({ outcome }) => outcome === 'failed'),
  };
}

function surveyedDrill({ id, time, outcome = 'inconclusive', reason, drill }: Check): SurveyedDrill {
  return { atMs: Date.parse(time), id, outcome, reason, ...drill };
}

/** The drill that failed, until one succeeds: one that was not done since says nothing. */
export function failedDrill({ failed, sound }: DrillSurvey): SurveyedDrill | undefined {
  return failed !== undefined && failed.atMs > (sound?.atMs ?? -Infinity) ? failed : undefined;
}
