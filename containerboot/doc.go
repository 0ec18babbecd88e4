// Package containerboot is the process that runs in a session container: the
// first one there, a plain child process under the edge's process runner. It clones a
// client's site, installs its dependencies, builds it, serves it, keeps the account
// of who uses it, and saves the work when it is told to end.
//
// As PID 1 it starts itself once more and does no more than what is an init's: it reaps
// orphans, hands signals on (TERM, INT, HUP, QUIT, USR1 and USR2), and ends with the other's
// status, or with 128 and the number of the signal that killed it. It needs no other init.
//
// It listens at once, before there is anything to serve, so that its progress can
// be followed from the first moment.
//
// # Modes
//
// With WEBORDINARY_TOKEN_HASH it waits for an edge to claim it; everything that it
// needs to know, secrets included, comes with the claim and not by the environment.
// It ends if no claim has come after 10 minutes.
//
// Without, it runs standalone, from CLIENT_ID and CLIENT_CONFIG or CLIENT_CONFIG_TABLE: no token protects
// it then, so it listens on loopback only unless LISTEN_ADDRESS says otherwise.
//
// # Environment
//
//	SESSION_ID              The session. With a claim: optional, the claim must agree.
//	                        Standalone default: CLIENT_ID.
//	WEBORDINARY_TOKEN_HASH  Hex SHA-256 of the session's token: wait for the claim.
//	                        Conflicts with CLIENT_ID and CLIENT_CONFIG.
//	CLIENT_ID               Standalone, required: the client.
//	CLIENT_CONFIG           Standalone, or else the table: the client's configuration in JSON,
//	                        in the shape that `caddy webordinary client put` takes.
//	                        Its deployKey must be the key itself, not a reference.
//	CLIENT_CONFIG_TABLE     Standalone, in the place of CLIENT_CONFIG: the DynamoDB table that has
//	                        it, as the edges' config store keeps it ("webordinary-client-configs").
//	                        Region, endpoint and credentials are AWS's usual ones (AWS_REGION,
//	                        AWS_ENDPOINT_URL_DYNAMODB, a role …), with dynamodb:GetItem; a deploy
//	                        key that is a reference is resolved with them.
//	DEPLOY_KEY_PREFIXES     With the table: what references to deploy keys may begin with, as the
//	                        edges' deploy_key_prefixes, separated by spaces. Default:
//	                        arn:aws:secretsmanager, of which the client's tag is asked for.
//	ALLOW_FILE_REPOSITORIES With the table: on lets it name file: repositories, and servers at
//	                        private addresses, as the edges' allow_file_repositories does.
//	PORT                    Port to listen on. 0 takes a free one. Default: 8080.
//	LISTEN_ADDRESS          Address to listen on. Default: all; standalone: 127.0.0.1.
//	WORKSPACE_PATH          Folder of the client's working tree; what belongs to it but
//	                        not in it (git directory, home of the client's tools) lies
//	                        beside it. Default: /workspace.
//	CACHE_PATH              Folder of the caches, which the containers of many sessions
//	                        may share; one folder per client in it. Default: /cache. A volume
//	                        that several machines share must have locks of whole files (flock)
//	                        that hold between them and end with a process or its machine,
//	                        renames that replace at once, and symbolic links; no hard links.
//	                        Where it is full a build is kept beside the workspace, for this
//	                        session only.
//	API_UPSTREAM            Origin (http://host:port) which gets the /api/ requests that
//	                        containerboot does not answer. Default: the site gets them.
//	KNOWN_HOSTS_FILE        File with the keys of ssh servers in OpenSSH's known_hosts form,
//	                        read at the start. A host that is named there must show one
//	                        of its keys. Those of github.com, gitlab.com and
//	                        bitbucket.org are known without it; any other host is
//	                        believed at its first use by the client, and then pinned.
//	SSL_CERT_FILE, SSL_CERT_DIR, GIT_SSL_CAINFO, GIT_SSL_CAPATH
//	                        Certificate authorities that git is to trust for https. The
//	                        first two stand in for the others where these are not set.
//	SITE_USER               Whom the client's code runs as: a name, uid or uid:gid, of whom
//	                        nothing else runs in the container: it would be killed. 0 is
//	                        root. Default: site where this is root and that user exists,
//	                        else this process's own user. See below.
//	BOOT_TIMEOUT            How long a start may take, and a rebuild, such as 5m; at most, and
//	                        by default, 10m, for which an edge waits.
//	AUTOSAVE_AFTER          After how much time without a change what is not saved yet is put
//	                        on the remote, beside the branch: 1s to 1h, or off. Default: 60s.
//	                        See below.
//	WEBORDINARY_LISTEN_FD   Number of an inherited socket that listens at LISTEN_ADDRESS
//	                        and PORT already; none is opened then.
//	WEBORDINARY_PARENT_FD   Number of an inherited pipe's read end: at its end, save and end.
//	WEBORDINARY_LOCK_FD     Number of an inherited file that is kept open, and away from
//	                        every child, for as long as the process lives.
//
// All faults of the environment are reported together.
//
// # What the client's code sees
//
// Installing and building run the client's code. Its environment is made from
// nothing: PATH, LANG, TZ, TMPDIR, the variables of proxies and of certificate
// authorities (http_proxy, https_proxy, no_proxy, all_proxy, SSL_CERT_FILE,
// SSL_CERT_DIR, NODE_EXTRA_CA_CERTS), npm's choice of registry and configuration
// (NPM_CONFIG_REGISTRY, NPM_CONFIG_USERCONFIG, NPM_CONFIG_GLOBALCONFIG,
// NPM_CONFIG_CAFILE), and build.env of the client's configuration, which wins. HOME
// is a private folder; npm still reads the .npmrc of the real one, so that a
// company's registry works. CI is not set: it would turn warnings into errors in
// some tools; build.env can set it. Neither the token nor the deploy key, nor any
// AWS_ or WEBORDINARY_ variable of the process gets there.
//
// # What the client's code can do
//
// With a user of its own, as in the session image, it owns the workspace, its home and
// npm's cache, and can write nowhere else but to /tmp and /dev/shm. It cannot read what
// is secret: not the memory, environment and open files of this process and of git, nor
// the deploy key, which is in a file of mode 0600, or in the environment, of git while
// that speaks to the remote. It can read the client's caches, and the objects of the
// repository. When nothing runs any more that was started as that user, installation,
// build, or the site's own server, all that is left of it is killed. A program which
// leaves less than an eighth of the container's processes and threads to others is ended
// with all else of the user's. What git does in the workspace, and this process with a
// file that it writes back, it does with that user's rights: who else works there must
// leave files that the user may read. It takes root with the capabilities CHOWN,
// DAC_OVERRIDE, KILL, SETGID and SETUID.
//
// Without, the code has all rights of this process: its environment and output are
// bounded, its time, and its processes are killed as far as they stayed in their group;
// when memory runs out the kernel ends it first. It can read the token and the deploy key,
// of other clients' sessions too where those run as the same user, change their files, end
// their processes, answer in the place of their servers, and use up the machine. So it is
// under the edge's process runner, which is for repositories that are trusted.
//
// What bounds it: time by BOOT_TIMEOUT, and a build that is stopped has 5 s to end; memory
// and processes by the container, of which Node takes a part as its own limit unless
// NODE_OPTIONS in build.env says otherwise; output, of which 1,000 bytes of a line and 4 MB
// in all are passed on, and the last 200 lines kept; what a build leaves, at most 2 GB. The
// space that it takes on the way is bounded by the volumes only.
//
// # What is cloned
//
// The edit branch where the remote has it, else the configured one, without its history.
// Submodules come along at their commits, and those of submodules, over https and ssh; the
// repository's credentials are for its own server only. Their folders have no .git: they
// are files of other repositories, so that what is changed there cannot be pushed. It is
// kept in the cache, goes back into the folder when the session wakes, and a save's "note"
// says so; a newer version of a submodule waits until the changes are gone. A submodule
// that cannot be fetched leaves an empty folder; the log says which and why, and so does a
// build that fails. It is tried again with every look at the remote. Of files in Git LFS
// there are the placeholders only; that is said likewise.
//
// # What is built
//
// Node is of the version that build.nodeVersion of the configuration asks for, or else
// .nvmrc, .node-version, .tool-versions, or volta, devEngines or engines of package.json,
// and of one that the site's Astro builds with and its package manager runs on; engines
// that Astro does not build with are not followed, unless engine-strict is set. Where the
// machine's is not, one is fetched by npm, as a package, through
// the registry that npm is configured with, and kept in the client's cache. On another C
// library than glibc, and on other machines than x64 and arm64, there is none to fetch.
//
// The site's package manager, npm, pnpm or Yarn, is told by its lock file and by
// packageManager, devEngines or volta, fetched alike at the version that the repository
// pins (without a pin npm is the machine's), and run at the root of the workspace which
// the site is a package of. Of several lock files, that of the one named is followed, or
// else of one whose own settings are there, or which was written for the Astro that
// package.json asks for. It installs what the lock file says. Where the lock file does not match
// package.json it installs what fits, says so, and the lock file stays as it was; a site
// without one is left without. The site is built by its script "build", or the only one
// that calls "astro build", or by that.
//
// Where lock file, settings, patches and package.json files are all that an installation
// depends on, node_modules are kept until they change; where there are install scripts, packages
// that are copied from the repository or an install command, which may read anything,
// until any file changes. Yarn's Plug'n'Play is installed anew each time.
// What npm downloaded by a lock file is kept for the client's sessions by its SHA-512,
// 2 GB of it; each has a cache of npm of its own, and pnpm's and Yarn's are the session's.
//
// A build is shared with the client's other sessions by what it was made from: the
// files that would be saved, the .env files in the site's folder, versions and settings.
// If any of that changed while it was built, it is this session's alone.
//
// The output folder is build.output, without which it is the one that Astro says it builds
// into, dist where it says none. It is emptied before a build, unless the repository has
// files in it, and must hold an index.html afterwards, or have one in its folder client,
// unless healthPath names another page or it is that of a server. It is
// moved out of the workspace for the moment in which it is copied. An editing agent that
// builds for itself should do so into a folder of its own: two builds at a time into the
// same one spoil each other.
//
// # What is served
//
// build.mode says how, and without it the output does: server/entry.mjs makes a server,
// unless all pages are files. Servers for other hosts than Node's are refused by name.
//
// static: the output folder. Documents are found as static hosts do. The site's base, and
// the name of its asset folder, are what the links of its home page and 404 page tell.
// Each document gets a script that loads it again once a rebuild has finished: it listens
// to /api/events for another "build" in the status.
//
// server: what Astro's Node adapter (standalone) leaves. server/entry.mjs is run by node
// in the site's folder, from a copy, at the HOST and PORT of its environment, which is
// otherwise that of a build. Files of client/ are served from there; all else goes to
// the server, without the session's prefix but with the site's base, which is read from the
// server's code. The prefix is put before what its pages link of
// the asset folder, before its redirects, and before its cookies' paths other than "/".
// The Host that it sees is the address at which it listens, and it sees none of what
// names another (X-Forwarded-Host, -Proto): by that, and by Astro.url, a site reaches
// itself. Where a page links that address it becomes one of the session; text, scripts
// and data keep it. Origin and Referer follow, so that Astro's check of a form's origin
// holds: the copy's list of security.allowedDomains gets any host. A rebuild's server takes over once it answers; the old one
// then has 30 s for what it was asked.
//
// dev: "astro dev", by the site's script of that name where it ends in that, with --base
// for the session's prefix and --allowed-hosts for the client's edit hosts; other hosts
// get 403. The base is then the prefix instead of the site's own: links that are written
// out with that lead nowhere, those made with import.meta.env.BASE_URL do. Where an integration
// sets another base, which the server's first lines tell, the site is served below the
// prefix from there. Another script, such as one of concurrently's, would not hand the
// options on: "astro dev" is started alone then, and what the script runs before it or
// beside it, or sets for it, is missing. The Host that
// it sees is the address at which it listens, as with a server. It sees by itself what
// changes in the workspace; when other packages were installed, and at
// /api/rebuild, it is started anew. While its configuration is broken it goes on with the
// one before, which only its log says.
//
// A server that ends by itself is started again, after 250 ms at first, doubling to 30 s;
// the status has a failure meanwhile, and requests wait up to 15 s. Ready is a session
// whose healthPath answers 2xx within 30 s; without one, whose home page answers below
// 400 (static), below 500 (server), or at all (dev).
//
// # Requests
//
//	POST /.boot/proof    shows that this container was started with the token's hash
//	POST /.boot/claim    takes the claim; the same again is answered alike, any other 409
//	POST /.boot/quiesce  saves, and agrees to its end, if idle for long enough
//	POST /.boot/commit   ends, unless somebody came since it agreed
//	POST /.boot/recall   somebody comes, though not by this connection
//	GET  /api/health     200 when the site answers, else 503 with the status
//	GET  /api/status     the status
//	GET  /api/events     the same as a stream of events, with the tools' output
//	POST /api/save       saves the work
//	POST /api/rebuild    fetches and builds again; the old build serves until then
//
// The status says how far a start has come and, after the client's first, how long it is
// expected to take: the median of its last five that had as much to do. Those times are
// in the client's cache, in times.json. A percentage is there where a tool prints one:
// git does, Astro for images, package managers do not.
//
// Those under /.boot/ ask for "Authorization: Bearer" with the token, all others for
// X-Webordinary-Token; 421 without, else X-Webordinary-Proof is on the answer. The /api/ paths are known below the session's
// prefix and without it.
//
// # Failures
//
// A failure has a phase, a cause in a sentence for an editor, a detail for the operator
// (the tool's last 40 lines), and says whether trying again may help by itself. The cause
// is read from what git, npm, pnpm, Yarn, Astro and Node print: it names file and line, or
// the page, where they do, the package whose script failed, the host that does not answer,
// the registry, and the limit that was reached. It has no paths of the container. The log
// has all of it, and so has the edge's, and "caddy webordinary session get".
//
// # Saving
//
// On POST /api/save, before sleep and at the end, files and commits of the workspace are
// pushed to the edit branch, never by force. Where that has moved on, the two are merged,
// in the workspace too. A file that both changed stays as it is in the session; the other
// version is in the branch's history, and the result ("conflicts"), the commit's message and
// the log name the file. What the remote does not take is kept as a bundle in the cache.
//
// In between the work is saved by itself, so that a crash loses the last minute at most:
// once nothing has changed for AUTOSAVE_AFTER and no write is under way, or after three times
// that while changes never stop, files and commits go to refs/webordinary/{SESSION_ID} on
// the remote, with the characters that a ref cannot have percent-encoded. Neither the edit
// branch nor the workspace's own git moves. While something is built this waits. Where the
// remote takes no such refs, or cannot be reached, it is a bundle in the cache, which the log
// says once. Changes are noticed by names, sizes and times of the files, looked at every
// AUTOSAVE_AFTER/4, or more seldom, so that it takes no more than 0.2 % of a processor or
// happens once in that time. It counts as nobody's activity.
//
// A start without a workspace goes on from all of these: what is not on the branch is put
// into the workspace as it was, unsaved. The next save takes the ref away in the same push;
// one that cannot be taken away is moved to a commit that says that it holds nothing more.
// So is one that was another container's: if that one's workspace, as old as its crash, ever
// wakes again, it learns so that somebody went on. Right after its start it moves on to what
// was made since, and keeps what it alone has; a file that both changed is as in the newer.
// A session that is deleted is saved first, and so leaves no ref unless a crash was among its
// ends: `git push origin --delete refs/webordinary/ID`.
//
// # End
//
// On SIGTERM, SIGINT, at the end of the parent's pipe, after a commit, and when no edge
// has been heard of for as long as the claim or the last quiesce says: take no more requests, close sockets, let
// requests under way end and stop what is being built (7 s at most), save (20 s at
// most, a bundle in the cache included where the remote does not answer), end: all
// within 30 s.
//
// # Exit status
//
//	 0  ended as told; work is saved
//	 1  the server failed
//	 2  the environment is not valid
//	 3  cannot listen
//	 4  work could not be saved: it is in the workspace only
//	 5  never claimed
//	 6  the client's configuration could not be read from the table, or its deploy key
//	11  ended as told, after the boot had failed at cloning
//	12  … at installing
//	13  … at building
//	14  … because the site did not answer
package containerboot

import (
	_ "embed"
	"strings"
)

//go:embed doc.go
var source string

// manual is the package's comment as plain text.
func manual() string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		text, isComment := strings.CutPrefix(line, "//")
		if !isComment {
			break
		}
		b.WriteString(strings.TrimPrefix(text, " "))
	}
	return b.String()
}
