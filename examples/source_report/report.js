// A report about the Rust sources of the folder that it is run in: per package, the number of files
// and lines, and the longest file with its hash.
//
//   code_mode run examples/source_report/report.js --tools examples/source_report/tools.json

/** Calls at one time; the host refuses a script that opens hundreds. */
const AT_ONCE = 64;

/** Maps items by an async function, a bounded number at a time, and keeps their order. */
async function mapInParallel(items, map) {
  const results = new Array(items.length);
  let next = 0;
  async function work() {
    while (next < items.length) {
      const at = next++;
      results[at] = await map(items[at]);
    }
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, work));
  return results;
}

function table(head, rows) {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at].length)));
  const isNumber = head.map((_, at) => rows.every((row) => /^[\d,]+$/.test(row[at])));
  const line = (row) =>
    row
      .map((cell, at) => (isNumber[at] ? cell.padStart(widths[at]) : cell.padEnd(widths[at])))
      .join('  ')
      .trimEnd();
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n');
}

const listed = await tools.list_files({ suffix: '.rs' });
const paths = listed.split('\n').filter((path) => path !== '');
if (paths.length === 0) {
  throw new Error('there are no Rust sources here; run this from the root of the workspace');
}

const files = await mapInParallel(paths, async (path) => ({
  path,
  package: path.includes('/') ? path.slice(0, path.indexOf('/')) : '.',
  lines: await tools.count_lines({ path }),
}));

const packages = Object.entries(Object.groupBy(files, (file) => file.package));
const rows = await Promise.all(
  packages.map(async ([name, members]) => {
    const longest = members.reduce((a, b) => (b.lines > a.lines ? b : a));
    return {
      name,
      files: members.length,
      lines: members.reduce((sum, file) => sum + file.lines, 0),
      longest,
      hash: await tools.sha256({ path: longest.path }),
    };
  }),
);
rows.sort((a, b) => b.lines - a.lines);

const number = new Intl.NumberFormat('en');
text(
  table(
    ['package', 'files', 'lines', 'longest file', 'its lines', 'its SHA-256'],
    rows.map((row) => [
      row.name,
      number.format(row.files),
      number.format(row.lines),
      row.longest.path,
      number.format(row.longest.lines),
      row.hash.slice(0, 16),
    ]),
  ),
);
const total = rows.reduce((sum, row) => sum + row.lines, 0);
text(`${number.format(paths.length)} files, ${number.format(total)} lines, ${1 + paths.length + rows.length} tool calls`);
