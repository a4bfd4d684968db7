"""What the tests of readers and of fetching share: one small data set, its files, and its pairs read back."""

import io
import zipfile

PAIRS = [(1, 10), (1, 20), (2, 10), (3, 30), (10, 20)]  # as strings, user 10 would sort before user 2
U_DATA = "".join(f"{user}\t{item}\t3\t881250949\n" for user, item in PAIRS)
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + U_DATA
REVIEWS = "apps/reviews_Apps_for_Android_5.json"


def originals(data):
    return sorted(zip(data.user_ids[data.users.numpy()].tolist(), data.item_ids[data.items.numpy()].tolist()))


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()
