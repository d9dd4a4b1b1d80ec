// Numbers, times and words of the page.

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

// Time of day; with the day where it is another one.
export function clock(milliseconds, now) {
  const moment = new Date(milliseconds);
  const today = moment.toDateString() === new Date(now).toDateString();
  return today ? time.format(moment) : `${day.format(moment)}, ${time.format(moment)}`;
}

export function duration(milliseconds) {
  const seconds = Math.max(milliseconds, 0) / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// A score with three significant digits, so that its width hardly changes.
export function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e5 || size < 1e-3)) return value.toExponential(1);
  return size >= 100 ? String(Math.round(value)) : value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

export const WORDS = {
  anomalous: "Anomalous",
  review: "Review",
  muted: "Muted",
  fault: "Fault",
  silent: "Silent",
  offline: "Offline",
  building: "Building",
  normal: "Normal",
  waiting: "Waiting",
};

// States that a person should look at, in the order of the summary.
export const ATTENTION = ["anomalous", "review", "fault", "silent", "offline"];
