/* The floor: the least that keeps services running. `floor DIR` starts itself once for each entry
   of DIR; each copy forks, execs ./run there and does so again when it ends. Nothing else. */
#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

static int keep(const char *directory) {
    int status;

    if (chdir(directory) == -1) return 111;
    for (;;) {
        if (fork() == 0) {
            execl("./run", "./run", (char *)0);
            _exit(111);
        }
        /* Without a pause for what cannot run, a mistake here would eat the machine. */
        if (wait(&status) == -1 || (WIFEXITED(status) && WEXITSTATUS(status) == 111)) sleep(1);
    }
}

int main(int argc, char **argv) {
    if (argc == 3) return keep(argv[1]);
    if (argc != 2 || chdir(argv[1]) == -1) return 111;
    DIR *directory = opendir(".");
    if (!directory) return 111;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.') continue;
        if (vfork() == 0) {
            execl(argv[0], argv[0], entry->d_name, "keep", (char *)0);
            _exit(111);
        }
    }
    closedir(directory);
    for (;;) pause();
}
