#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# Real programs on a mount: SQLite in its ways to commit and to read, the compiler, make, ar and the
# linker on this project's own sources, git, tar and diff. What they need is installed by
# scripts/install-deps.
. "$(dirname "$0")/lib.sh"

[ "${UDAX_FULL-}" != 1 ] || UDAX_TEST_LEVEL=full
mnt=$work/mnt
tree=$(dirname "$tests")
rows=1000 writers=3
[ "$UDAX_TEST_LEVEL" = quick ] || { rows=50000 limit=900; }
region=$(make_region 512M) || exit 1
start_mount "$region" "$mnt" || exit 1

# --- SQLite ---

# sql FILE STATEMENT... - with settings of the test at hand.
settings=
sql() {
	local file=$1
	shift
	sqlite3 -batch -bail -cmd ".timeout 30000" "$file" "$settings" "$@"
}

sum_of() { sql "$1" 'SELECT count(*), sum(n), sum(length(text)) FROM t;' | tail -n 1; }
is_sound() { same ok "$(sql "$1" 'PRAGMA integrity_check;' | tail -n 1)" "integrity_check"; }

a_database() { # a_database NAME JOURNAL-MODE SETTINGS
	local file=$mnt/$1.db sum
	settings="$3; PRAGMA journal_mode=$2;"
	sql "$file" 'CREATE TABLE t(n INTEGER PRIMARY KEY, text TEXT); CREATE INDEX i ON t(text);' \
		"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $rows)
		INSERT INTO t SELECT n, hex(randomblob(n % 300)) FROM c;"
	sql "$file" 'DELETE FROM t WHERE n % 7 = 0;' 'UPDATE t SET text = text || n WHERE n % 5 = 0;'
	is_sound "$file"
	sum=$(sum_of "$file")
	sql "$file" 'VACUUM;'
	is_sound "$file"
	same "$sum" "$(sum_of "$file")" "rows after VACUUM"
	sql "$file" 'BEGIN; DELETE FROM t; ROLLBACK;'
	same "$sum" "$(sum_of "$file")" "rows after ROLLBACK"
	echo "$sum" >"$work/$1.sum"
}

sqlite_with_a_rollback_journal() { a_database delete DELETE ''; }
sqlite_with_a_truncated_journal() { a_database truncate TRUNCATE ''; }
sqlite_with_a_persistent_journal() { a_database persist PERSIST ''; }
sqlite_with_a_write_ahead_log() { a_database wal WAL ''; }
sqlite_reading_through_a_mapping() { a_database mapped DELETE 'PRAGMA mmap_size=268435456;'; }
sqlite_with_a_log_and_a_mapping() { a_database walmapped WAL 'PRAGMA mmap_size=268435456;'; }

# Each process counts in the same rows; a lost update would show in the sum.
write_to_database() {
	local i
	for i in $(seq 50); do
		sql "$1" "BEGIN IMMEDIATE; UPDATE t SET n = n + 1 WHERE id = 1; INSERT INTO t VALUES
			(NULL, $i); COMMIT;" || return
	done
}

several_processes_share_a_database() { # JOURNAL-MODE
	local file=$mnt/shared.$1.db pids=() pid
	settings="PRAGMA mmap_size=1048576; PRAGMA journal_mode=$1;"
	sql "$file" 'CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO t VALUES (1, 0);'
	for _ in $(seq "$writers"); do
		write_to_database "$file" >"$work/state/writer" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
	is_sound "$file"
	same "$((writers * 50))|$((writers * 50 + 1))" \
		"$(sql "$file" 'SELECT (SELECT n FROM t WHERE id = 1), count(*) FROM t;' | tail -n 1)" \
		"updates|rows"
}

processes_share_a_database_with_a_journal() { several_processes_share_a_database DELETE; }
processes_share_a_database_with_a_log() { several_processes_share_a_database WAL; }

a_killed_transaction_is_rolled_back() {
	local file=$mnt/killed.db program mode
	for mode in DELETE WAL; do
		rm -f "$file"*
		settings="PRAGMA journal_mode=$mode; PRAGMA cache_size=10;"
		sql "$file" 'CREATE TABLE t(n INTEGER, text TEXT); INSERT INTO t VALUES (1, 1);'
		sql "$file" 'BEGIN IMMEDIATE; WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1
			FROM c WHERE n < 10000000) INSERT INTO t SELECT n, randomblob(500) FROM c; COMMIT;' &
		program=$!
		sleep 0.5
		_kill_tree "$program"
		wait "$program" || true
		is_sound "$file"
		same '1|1|1' "$(sum_of "$file")" "rows"
	done
}

databases_are_there_after_a_remount() {
	local sum name
	remount "$mnt"
	settings=
	for sum in "$work"/*.sum; do
		name=$(basename "$sum" .sum)
		is_sound "$mnt/$name.db"
		same "$(cat "$sum")" "$(sum_of "$mnt/$name.db")" "rows of $name"
	done
}

# --- a compiler and its friends ---

copy_of_the_sources() {
	mkdir "$mnt/tree"
	tar -C "$tree" -c src include tests docs | tar -C "$mnt/tree" -x
	diff -r "$tree/src" "$mnt/tree/src"
	diff -r "$tree/docs" "$mnt/tree/docs"
}

# mkfs, because it can be tried out: it makes a volume on the volume.
a_program_is_compiled_and_runs() {
	local libraries=(libpmem libisal libxxhash blkid uuid jansson)
	cd "$mnt/tree"
	{
		echo "CFLAGS = -O0 -g -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DUDAX_VERSION='\"0\"' -DUDAX_LIBRARY_DIR='\".\"' \\"
		echo "	-fno-strict-aliasing -Iinclude -Isrc -Isrc/probes/none $(pkg-config --cflags "${libraries[@]}")"
		echo "LDLIBS = $(pkg-config --libs "${libraries[@]}") -lpthread"
		echo "OBJECTS = \$(patsubst src/%.c,o/%.o,\$(filter-out $(not_of_mkfs), \\"
		echo "	\$(wildcard src/*.c)))"
		echo 'mkfs: o/mkfs.o lib.a; $(CC) -o $@ o/mkfs.o lib.a $(LDLIBS)'
		echo 'lib.a: $(filter-out o/mkfs.o,$(OBJECTS)); rm -f $@ && ar rcs $@ $^'
		echo 'o/%.o: src/%.c | o; $(CC) $(CFLAGS) -c -o $@ $<'
		echo 'o:; mkdir o'
	} >Makefile
	make -j 2 >make.log 2>&1 || { tail -n 20 make.log; return 1; }
	./mkfs --size 8M "$mnt/volume" >mkfs.log
	fsck_clean "$mnt/volume"
	rm "$mnt/volume"
	same "make: 'mkfs' is up to date." "$(make)" # times are what make expects
	touch src/mem.c
	make -n | grep -q mem.c
	cp -a o o.copy
	diff -r o o.copy
}

# What needs libraries that mkfs does not, and what is another variant of the same.
not_of_mkfs() {
	local file
	for file in "$tree"/src/{fuse_,udaxfs,udaxctl,udaxlab,fsck}*.c "$tree/src/region_devdax.c"; do
		printf 'src/%s ' "${file##*/}"
	done
}

# --- git, tar ---

git() {
	command git -c user.name=test -c user.email=test@localhost -c init.defaultBranch=main \
		-c gc.auto=0 -c safe.directory='*' "$@"
}

a_repository_is_made_cloned_and_checked() {
	cd "$mnt/tree"
	git init -q .
	git add src include tests docs
	git commit -q -m first
	git mv docs papers
	sed -i 's/lock/bolt/' src/*.c
	git commit -q -a -m second
	git clone -q . "$mnt/clone"
	git -C "$mnt/clone" fsck --full --strict
	same "$(git rev-parse HEAD)" "$(git -C "$mnt/clone" rev-parse HEAD)"
	git repack -q -a -d -f
	git fsck --full --strict
	git checkout -q HEAD~1
	same "" "$(git status --porcelain --untracked-files=no)"
	diff -r "$tree/docs" docs
	git diff --quiet HEAD HEAD~0
	git gc -q --prune=now
	git -C "$mnt/clone" pull -q
	git -C "$mnt/clone" log --stat >"$work/state/git-log"
}

# The size of a directory says how it came to be.
attributes_of() {
	(cd "$1" && find . -type d -printf '%p %m %y %T@\n' -o -printf '%p %m %s %y %l %T@\n' | sort)
}

an_archive_comes_back_as_it_was() {
	cd "$mnt"
	truncate -s 1G tree/sparse
	echo end >>tree/sparse
	ln tree/make.log tree/hard
	ln -s make.log tree/soft
	tar -c --sparse --xattrs -f tree.tar tree
	mkdir out
	tar -x --xattrs -f tree.tar -C out
	diff -r tree out/tree
	same "$(stat -c '%i' out/tree/make.log)" "$(stat -c '%i' out/tree/hard)" "a hard link"
	[ "$(stat -c %b out/tree/sparse)" -lt 1000 ]
	attributes_of tree >"$work/state/before"
	attributes_of out/tree >"$work/state/after"
	# tar keeps whole seconds of what it archives, unless asked otherwise.
	diff <(sed 's/\.[0-9]*$//' "$work/state/before") <(sed 's/\.[0-9]*$//' "$work/state/after")
	cp -a tree copy
	diff -r tree copy
	rm -r copy out tree.tar
}

everything_can_be_removed() {
	cd "$mnt"
	rm -rf ./*
	same "" "$(ls -A)"
}

for test in sqlite_with_a_rollback_journal sqlite_with_a_truncated_journal \
	sqlite_with_a_persistent_journal sqlite_with_a_write_ahead_log \
	sqlite_reading_through_a_mapping sqlite_with_a_log_and_a_mapping \
	processes_share_a_database_with_a_journal processes_share_a_database_with_a_log \
	a_killed_transaction_is_rolled_back databases_are_there_after_a_remount \
	copy_of_the_sources a_program_is_compiled_and_runs \
	a_repository_is_made_cloned_and_checked an_archive_comes_back_as_it_was \
	everything_can_be_removed; do
	check $test
done
stop_mount "$mnt"
_title="fsck finds nothing afterwards" check fsck_clean "$region"
finish
