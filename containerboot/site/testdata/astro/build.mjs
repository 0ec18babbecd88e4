// Builds the site by each of the options that say which files a page becomes and how it is
// linked, and prints what it is built into, as JSON: the output's name, and its files.
import { build } from "astro";
import fs from "node:fs";
import path from "node:path";

const variants = [];
for (const slash of ["never", "always", "ignore"]) {
  for (const format of ["file", "directory", "preserve"]) {
    variants.push({ slash, format }, { slash, format, base: "docs", inline: true }, { slash, format, base: "docs" });
  }
}
variants.push(
  { slash: "ignore", format: "directory", base: "docs/v1", assets: "static/files" },
  { slash: "ignore", format: "directory", assets: "static" },
  { slash: "never", format: "file", base: "docs", inline: true, i18n: true },
  { slash: "ignore", format: "directory", i18n: true },
  { slash: "never", format: "file", relative: true },
  { slash: "always", format: "directory", base: "docs", inline: true, relative: true },
);

const outputs = {};
for (const v of variants) {
  const name = Object.entries(v).map(([key, value]) => key + " " + value).join(", ");
  const out = path.resolve("out", String(Object.keys(outputs).length));
  process.env.SLASH = v.slash;
  process.env.RELATIVE = v.relative ? "1" : "";
  await build({
    root: process.cwd(), configFile: false, logLevel: "silent", outDir: out,
    trailingSlash: v.slash, base: "/" + (v.base ?? ""),
    build: { format: v.format, assets: v.assets ?? "_astro", inlineStylesheets: v.inline ? "always" : "never" },
    i18n: v.i18n && { locales: ["en", "de"], defaultLocale: "de", routing: { prefixDefaultLocale: true, redirectToDefaultLocale: true } },
    redirects: { "/old": (v.base ? "/" + v.base : "") + "/about", "/was/[slug]": "/blog/[slug]" },
  });
  outputs[name] = {};
  for (const file of fs.readdirSync(out, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const full = path.join(file.parentPath, file.name);
    outputs[name][path.relative(out, full)] = fs.readFileSync(full, "utf8");
  }
}
process.stdout.write(JSON.stringify(outputs));
